"""Keeps documents in sync with files on this machine, for `chatbot ingest`.

The document of a file is found by its path, which is stored with the document.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from chatbot.application.document_files import NewDocument, Upload
from chatbot.application.document_uploads import DocumentUploads
from chatbot.application.documents import DocumentChange, DocumentLibrary
from chatbot.application.host_files import HostFile
from chatbot.application.ingestion import Ingestion
from chatbot.domain.documents import (
    PRIVATE,
    Access,
    Document,
    DocumentId,
    Status,
    clean_labels,
    owner_atom,
)
from chatbot.domain.errors import ChatbotError, DuplicateDocument, StorageFailure
from chatbot.domain.extraction import FailureReason
from chatbot.domain.identity import Principal
from chatbot.domain.ports.extraction import ExtractionFailed, Extractor
from chatbot.domain.ports.storage import Storage

_LOOKS_EVERY_S = 0.2
"""How often to check a document that another process is processing."""
_ODD_NAME = "The name of the file is not valid UTF-8."
_GONE = "The document was deleted while the file was being read."


class Outcome(StrEnum):
    """The result for a file. The value is printed."""

    ADDED = "added"
    UPDATED = "updated"
    CHANGED = "access or labels changed"
    UNCHANGED = "unchanged"
    DUPLICATE = "duplicates"
    SKIPPED = "skipped (type not supported)"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """Options for the ingestion of files.

    Without `access` or `labels`, existing documents keep theirs. `is_dry`: nothing is written.
    """

    access: Access | None = None
    labels: tuple[str, ...] | None = None
    is_dry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """The result for one file. `has_no_readers`: no active user currently matches the access rule."""

    path: Path
    outcome: Outcome
    reason: str = ""
    has_no_readers: bool = False

    @property
    def is_failure(self) -> bool:
        return self.outcome is Outcome.FAILED


class FileIngestion:
    """Adds, updates and removes the documents of files.

    Several may be stored at the same time; their texts are extracted one after the other.

    Args:
        max_bytes: larger files fail.
    """

    def __init__(
        self,
        storage: Storage,
        library: DocumentLibrary,
        uploads: DocumentUploads,
        ingestion: Ingestion,
        extractor: Extractor,
        *,
        max_bytes: int,
    ) -> None:
        self._storage, self._library, self._uploads = storage, library, uploads
        self._ingestion, self._extractor, self._max_bytes = ingestion, extractor, max_bytes
        self._working = asyncio.Lock()

    async def aclose(self) -> None:
        """End what extracts texts."""
        await self._ingestion.aclose()

    async def known(self, principal: Principal) -> Mapping[Path, Document]:
        """Return the documents that were ingested from files, by path."""
        uploader = owner_atom(principal.owner)
        found = await self._storage.transact(lambda tx: tx.documents.uploaded_by(uploader))
        return {Path(each.source): each for each in found if each.source}

    async def ingest(
        self, principal: Principal, file: HostFile, known: Document | None, options: FileOptions
    ) -> FileReport:
        """Add or update the document of a file, and wait until it is ready or has failed.

        Errors of this file become its outcome; only those of the store are raised.
        """
        try:
            return await self._ingest(principal, file, known, options)
        except StorageFailure:
            raise
        except DuplicateDocument as error:
            return FileReport(path=file.path, outcome=Outcome.DUPLICATE, reason=error.document_id)
        except ExtractionFailed as error:
            is_foreign = error.reason is FailureReason.UNSUPPORTED
            outcome = Outcome.SKIPPED if is_foreign else Outcome.FAILED
            return FileReport(path=file.path, outcome=outcome, reason=str(error))
        except ChatbotError as error:
            return FileReport(path=file.path, outcome=Outcome.FAILED, reason=str(error))
        except OSError as error:
            why = error.strerror or "cannot be read"
            return FileReport(path=file.path, outcome=Outcome.FAILED, reason=why)

    async def remove(self, principal: Principal, document: Document) -> None:
        """Delete the document of a file that no longer exists."""
        await self._library.delete(principal, document.id)

    async def _ingest(
        self, principal: Principal, file: HostFile, known: Document | None, options: FileOptions
    ) -> FileReport:
        self._extractor.media_type_of("", file.path.name)
        if not file.has_storable_name:
            return FileReport(path=file.path, outcome=Outcome.FAILED, reason=_ODD_NAME)
        digest = await asyncio.to_thread(file.digest, max_bytes=self._max_bytes)
        if known is not None and known.status is not Status.FAILED and digest == known.digest:
            return await self._adjusted(principal, file.path, known, options)
        if options.is_dry:
            outcome = Outcome.ADDED if known is None else Outcome.UPDATED
            return FileReport(path=file.path, outcome=outcome)
        report, document_id = await self._stored(principal, file, known, options)
        return await self._finished(report, document_id)

    async def _adjusted(
        self, principal: Principal, path: Path, known: Document, options: FileOptions
    ) -> FileReport:
        """Give the document of an unchanged file the requested access and labels."""
        unchanged = FileReport(path=path, outcome=Outcome.UNCHANGED)
        if not _differs(known, options):
            return await self._finished(unchanged, known.id)
        report = replace(unchanged, outcome=Outcome.CHANGED)
        if options.is_dry:
            return report
        wanted = DocumentChange(access=options.access, labels=options.labels)
        stored = await self._library.change(principal, known.id, wanted)
        report = replace(report, has_no_readers=stored.has_no_readers)
        return await self._finished(report, known.id)

    async def _stored(
        self, principal: Principal, file: HostFile, known: Document | None, options: FileOptions
    ) -> tuple[FileReport, DocumentId]:
        """Upload a copy of the file, because the file may change in the meantime."""
        with tempfile.TemporaryDirectory(prefix="chatbot-") as folder:
            upload = await asyncio.to_thread(self._copied, file, Path(folder) / "file")
            if known is None:
                new = NewDocument(
                    access=options.access or PRIVATE,
                    labels=options.labels or (),
                    source=str(file.path),
                )
                stored = await self._uploads.add(principal, new, upload)
                outcome = Outcome.ADDED
            else:
                stored = await self._uploads.replace(principal, known.id, upload)
                outcome = Outcome.UPDATED
                if _differs(known, options):
                    wanted = DocumentChange(access=options.access, labels=options.labels)
                    stored = await self._library.change(principal, known.id, wanted)
        report = FileReport(path=file.path, outcome=outcome, has_no_readers=stored.has_no_readers)
        return report, stored.document.id

    def _copied(self, file: HostFile, copy: Path) -> Upload:
        digest = file.copy(copy, max_bytes=self._max_bytes)
        return Upload(path=copy, size=copy.stat().st_size, digest=digest, name=file.path.name)

    async def _finished(self, report: FileReport, document_id: DocumentId) -> FileReport:
        """Work on the queue, as other processes do, until this document is ready or has failed."""
        while True:
            document = await self._storage.transact(lambda tx: tx.documents.get(document_id))
            if document is None:
                return replace(report, outcome=Outcome.FAILED, reason=_GONE)
            if document.status is Status.READY:
                return report
            if document.status is Status.FAILED:
                return replace(report, outcome=Outcome.FAILED, reason=document.reason)
            async with self._working:
                has_worked = await self._ingestion.work_once()
            if not has_worked:
                await asyncio.sleep(_LOOKS_EVERY_S)


def _differs(known: Document, options: FileOptions) -> bool:
    """Whether access or labels need to be changed."""
    new_access = options.access is not None and not options.access.admits_as(known.access)
    return new_access or (
        options.labels is not None and clean_labels(options.labels) != known.labels
    )
