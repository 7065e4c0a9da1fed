"""Lists, reads, changes and deletes documents."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from chatbot.application import document_index
from chatbot.application.auditing import Auditing
from chatbot.application.document_files import StoredDocument, parts_of
from chatbot.application.document_rules import (
    changeable,
    clean_access,
    matches_nobody,
    readable,
    require_reading,
    require_sharing,
)
from chatbot.domain.audit import Action, AuditEvent
from chatbot.domain.documents import (
    MANAGERS,
    Access,
    Document,
    Status,
    Version,
    atoms_of,
    clean_labels,
    is_readable,
)
from chatbot.domain.errors import NotFound
from chatbot.domain.fingerprints import ANYTHING, Expected
from chatbot.domain.identity import Principal
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.search import labelled
from chatbot.domain.ports.storage import Storage
from chatbot.domain.session_fields import clean_title
from chatbot.domain.text import fold
from chatbot.domain.transaction import Transaction

_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFilter:
    """Which documents to list: those that match all fields that are not None.

    `query` is part of the title.
    """

    label: str | None = None
    status: Status | None = None
    query: str | None = None

    def fits(self, document: Document) -> bool:
        is_titled = self.query is None or fold(self.query) in fold(document.title)
        return is_titled and self.status in {None, document.status}


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentChange:
    """New values of a document's fields; None leaves a field unchanged."""

    title: str | None = None
    access: Access | None = None
    labels: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPage:
    """A page of documents, newest first. `next` is the id of the last one if more follow."""

    documents: Sequence[Document]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The bytes of a version, read in parts."""

    document: Document
    version: Version
    parts: AsyncGenerator[bytes]


class DocumentLibrary:
    """Lists, reads, changes and deletes documents.

    Methods raise `Forbidden` if the caller may not read any documents, or may read this one but not
    change it; and `NotFound`, with the same response, if the document does not exist or the caller
    may not read it.
    """

    def __init__(
        self, storage: Storage, auditing: Auditing, *, shared_by_managers: bool, clock: Clock
    ) -> None:
        self._storage, self._auditing, self._clock = storage, auditing, clock
        self._shared_by_managers = shared_by_managers

    async def page(
        self, principal: Principal, wanted: DocumentFilter, *, limit: int, after: str
    ) -> DocumentPage:
        """Return the documents that the caller may read."""
        atoms = require_reading(principal)

        def work(tx: Transaction) -> DocumentPage:
            scopes = tx.index.scopes_for(atoms)
            if wanted.label is not None:
                scopes = labelled(tx.index, scopes, clean_labels([wanted.label]))
            found: list[Document] = []
            last = after
            while len(found) <= limit:
                page = tx.documents.page(scopes, after=last, limit=_AT_ONCE)
                found += [e for e in page if is_readable(e, atoms) and wanted.fits(e)]
                if len(page) < _AT_ONCE:
                    break
                last = page[-1].id
            shown = found[:limit]
            return DocumentPage(documents=shown, next=shown[-1].id if len(found) > limit else None)

        return await self._storage.transact(work)

    async def read(self, principal: Principal, document_id: str) -> Document:
        """Return a document."""
        return await self._storage.transact(lambda tx: readable(tx, principal, document_id))

    async def content(
        self, principal: Principal, document_id: str, number: int | None = None
    ) -> Content:
        """Return the bytes of a version, by default of the live one.

        Recorded in the audit if the caller may read them only because they manage documents.

        Raises:
            NotFound: also if the version does not exist.
            AuditUnavailable: it cannot be recorded.
        """

        def work(tx: Transaction) -> tuple[Document, Version]:
            document = readable(tx, principal, document_id)
            version = document.version(number)
            if version is None:
                raise NotFound("The document does not have this version.")
            if _is_managing(principal, document):
                self._auditing.note(tx, principal, _event(Action.DOCUMENT_READ, document))
            return document, version

        document, version = await self._storage.transact(work)
        parts = parts_of(self._storage, document.id, version.number)
        return Content(document=document, version=version, parts=parts)

    async def change(
        self,
        principal: Principal,
        document_id: str,
        wanted: DocumentChange,
        *,
        expected: Expected = ANYTHING,
    ) -> StoredDocument:
        """Change title, access or labels. A new access rule applies from the next request on.

        Raises:
            InvalidInput: one of them is invalid.
            ChangedMeanwhile: the stored document is not the expected one.
        """

        def work(tx: Transaction) -> StoredDocument:
            tx.documents.lock()
            old = changeable(tx, principal, document_id)
            expected.require(old.metadata)
            new = self._changed(tx, principal, old, wanted)
            if new.access != old.access:
                event = _event(Action.DOCUMENT_ACCESS, new, reason=str(new.access))
                with self._auditing.recording(tx, principal, event):
                    document_index.change(tx, new, old=old)
            elif new != old:
                document_index.change(tx, new, old=old)
            is_new_rule = wanted.access is not None
            return StoredDocument(
                document=new,
                has_no_readers=is_new_rule and matches_nobody(tx, new, self._clock()),
            )

        return await self._storage.transact(work)

    def _changed(
        self, tx: Transaction, principal: Principal, old: Document, wanted: DocumentChange
    ) -> Document:
        title = old.title if wanted.title is None else clean_title(wanted.title)
        labels = old.labels if wanted.labels is None else clean_labels(wanted.labels)
        access = old.access
        if wanted.access is not None:
            access = clean_access(tx, principal, wanted.access)
        if access != old.access:
            require_sharing(principal, access, is_for_managers=self._shared_by_managers)
        changed = document_index.classified(replace(old, title=title, access=access, labels=labels))
        if changed == old:
            return old
        is_given = old.is_title_given or wanted.title is not None
        return replace(changed, is_title_given=is_given, updated_at=self._clock())

    async def delete(
        self, principal: Principal, document_id: str, *, expected: Expected = ANYTHING
    ) -> None:
        """Delete a document with its versions, passages and index entries.

        Raises:
            ChangedMeanwhile: the stored document is not the expected one.
        """

        def work(tx: Transaction) -> None:
            tx.documents.lock()
            document = changeable(tx, principal, document_id)
            expected.require(document.metadata)
            with self._auditing.recording(tx, principal, _event(Action.DOCUMENT_DELETE, document)):
                document_index.remove(tx, document)

        await self._storage.transact(work)


def _is_managing(principal: Principal, document: Document) -> bool:
    """Whether the caller may read the document only because they manage documents."""
    own = {each for each in atoms_of(principal) if not each.startswith(MANAGERS)}
    return not is_readable(document, own)


def _event(action: Action, document: Document, *, reason: str | None = None) -> AuditEvent:
    return AuditEvent(action=action, object_type="document", object_id=document.id, reason=reason)
