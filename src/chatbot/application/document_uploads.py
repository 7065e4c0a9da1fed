"""Uploads of documents and of new versions. Their text is extracted later: see `ingestion`."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from chatbot.application import document_index
from chatbot.application.auditing import Auditing
from chatbot.application.document_files import (
    NewDocument,
    StoredDocument,
    Upload,
    clean_file_name,
    declared_type,
    title_of,
)
from chatbot.application.document_quotas import DocumentQuotas
from chatbot.application.document_rules import (
    changeable,
    clean_access,
    matches_nobody,
    require_reading,
    require_sharing,
)
from chatbot.domain.audit import Action, AuditEvent
from chatbot.domain.document_ids import document_id
from chatbot.domain.document_passages import content_name, folder_of
from chatbot.domain.documents import (
    Document,
    Status,
    Version,
    clean_labels,
    is_readable,
    owner_atom,
    scope_of,
)
from chatbot.domain.errors import DuplicateDocument, UnsupportedDocument
from chatbot.domain.fingerprints import ANYTHING, Expected
from chatbot.domain.identity import Principal
from chatbot.domain.ports.extraction import ExtractionFailed, Extractor
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.session_fields import clean_title
from chatbot.domain.transaction import Transaction

_AT_ONCE = 4
"""The maximum number of files in memory at the same time."""


class DocumentUploads:
    """Stores uploaded documents.

    Args:
        shared_by_managers: whether only those who manage documents may share them.
        changed: called after an upload, to start the extraction.
    """

    def __init__(
        self,
        storage: Storage,
        auditing: Auditing,
        extractor: Extractor,
        quotas: DocumentQuotas,
        *,
        shared_by_managers: bool,
        changed: Callable[[], None],
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._storage, self._auditing, self._extractor = storage, auditing, extractor
        self._quotas, self._changed = quotas, changed
        self._shared_by_managers = shared_by_managers
        self._clock, self._new_id = clock, new_id
        self._reading = asyncio.Semaphore(_AT_ONCE)

    def require_uploading(self, principal: Principal) -> None:
        """Check that the caller may upload, before anything is received.

        Raises:
            Forbidden: the caller may not.
        """
        require_reading(principal)

    def _require_allowed(self, principal: Principal, *, media_type: str, name: str) -> str:
        """Return the media type that a file is parsed as."""
        require_reading(principal)
        try:
            return self._extractor.media_type_of(media_type, name)
        except ExtractionFailed as error:
            raise UnsupportedDocument(str(error)) from error

    async def add(
        self, principal: Principal, new: NewDocument, upload: Upload, *, force: bool = False
    ) -> StoredDocument:
        """Store a document and queue its extraction.

        Raises:
            InvalidInput: the title, a label or the access rule is invalid.
            DuplicateDocument: the same bytes are already stored with the same access; not with `force`.
            TooManyDocuments: a quota is used up.
            UnsupportedDocument: files of this type are not supported.
            Forbidden: the caller may not upload or share.
        """
        media_type = self._require_allowed(
            principal, media_type=upload.media_type, name=upload.name
        )
        title, labels = (
            None if new.title is None else clean_title(new.title),
            clean_labels(new.labels),
        )
        await self._quotas.require_bytes()

        def work(tx: Transaction, data: bytes) -> StoredDocument:
            made = self._made(tx, principal, replace(new, title=title, labels=labels), upload)
            version = replace(made.newest, media_type=media_type)
            made = replace(made, newest=version)
            tx.blobs.put(content_name(made.id, version.number), data)
            tx.documents.lock()
            self._quotas.require_room(tx, principal)
            if not force:
                _require_new(tx, principal, made)
            document_index.open_class(tx, made)
            with self._auditing.recording(tx, principal, upload_event(made)):
                tx.documents.put(made, old=None)
                tx.documents.enqueue(made)
            return StoredDocument(
                document=made, has_no_readers=matches_nobody(tx, made, made.created_at)
            )

        return await self._stored(upload, work)

    async def replace(
        self,
        principal: Principal,
        known_id: str,
        upload: Upload,
        *,
        expected: Expected = ANYTHING,
    ) -> StoredDocument:
        """Store a new version of a document.

        The previous version is used until this one is ready. No-op if the bytes are unchanged.

        Raises:
            NotFound, Forbidden: as `changeable`.
            ChangedMeanwhile: the stored document is not the expected one.
            TooManyDocuments, UnsupportedDocument: as `add`.
        """
        found = await self._storage.transact(lambda tx: changeable(tx, principal, known_id))
        media_type = self._require_allowed(
            principal, media_type=declared_type(upload, found), name=upload.name
        )
        await self._quotas.require_bytes()

        def work(tx: Transaction, data: bytes) -> StoredDocument:
            tx.documents.lock()
            old = changeable(tx, principal, known_id)
            expected.require(old.metadata)
            if old.digest == upload.digest and old.status is not Status.FAILED:
                return StoredDocument(document=old)
            version = _version(upload, media_type, number=old.newest.number + 1)
            new = document_index.with_version(old, version, at=self._clock())
            tx.blobs.put(content_name(old.id, version.number), data)
            with self._auditing.recording(tx, principal, upload_event(new)):
                tx.documents.put(new, old=old)
                tx.documents.enqueue(new)
            if old.newest not in {*new.versions}:  # it was still waiting
                tx.blobs.remove(folder_of(old.id, old.newest.number))
            return StoredDocument(document=new)

        return await self._stored(upload, work)

    async def _stored(
        self, upload: Upload, work: Callable[[Transaction, bytes], StoredDocument]
    ) -> StoredDocument:
        async with self._reading:
            data = await asyncio.to_thread(upload.path.read_bytes)
            stored = await self._storage.transact(lambda tx: work(tx, data))
        self._quotas.note(upload.size)
        self._changed()
        return stored

    def _made(
        self, tx: Transaction, principal: Principal, new: NewDocument, upload: Upload
    ) -> Document:
        user, at = principal.user, self._clock()
        department = "" if user is None else user.department
        access = clean_access(tx, principal, new.access)
        require_sharing(principal, access, is_for_managers=self._shared_by_managers)
        version = _version(upload, upload.media_type, number=1)
        return document_index.classified(
            Document(
                id=document_id(at, self._new_id()),
                title=new.title or title_of(version.name),
                is_title_given=new.title is not None,
                access=access,
                labels=new.labels,
                source=new.source,
                scope=scope_of((), ()),
                uploaded_by=owner_atom(principal.owner),
                department=department,
                digest=upload.digest,
                created_at=at,
                updated_at=at,
                newest=version,
            )
        )


def _version(upload: Upload, media_type: str, *, number: int) -> Version:
    return Version(
        number=number,
        media_type=media_type,
        size=upload.size,
        digest=upload.digest,
        name=clean_file_name(upload.name),
    )


def upload_event(document: Document) -> AuditEvent:
    """Return the audit event of an upload, without the title, which may be confidential."""
    shown = f"version {document.newest.number}, {document.newest.size} bytes: {document.access}"
    return AuditEvent(
        action=Action.DOCUMENT_UPLOAD,
        object_type="document",
        object_id=document.id,
        reason=shown,
    )


def _require_new(tx: Transaction, principal: Principal, new: Document) -> None:
    """Check that no document that the caller may read has the same bytes and readers.

    Raises:
        DuplicateDocument: there is such a document.
    """
    atoms = require_reading(principal)
    for each in tx.documents.with_digest(new.digest):
        is_alike = each.access.admits_as(new.access) and (
            new.access.is_shared(new.uploaded_by) or each.uploaded_by == new.uploaded_by
        )
        if is_alike and each.status is not Status.FAILED and is_readable(each, atoms):
            raise DuplicateDocument(each.id)
