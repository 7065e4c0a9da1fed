"""Documents, their passages, and the extraction queue."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from chatbot.domain.document_jobs import DocumentJob, job_id
from chatbot.domain.document_passages import (
    FoundPassage,
    StoredPassage,
    folder_of,
    packed,
    passage_blob,
    passages_folder,
    unpacked,
)
from chatbot.domain.documents import Document, DocumentId
from chatbot.domain.ports.blobs import Blobs
from chatbot.domain.ports.records import Kind, Records
from chatbot.domain.search import Scope

DOCUMENTS = Kind(
    name="documents",
    singular="document",
    type=Document,
    key=("id",),
    indexed=("scope", "digest", "uploaded_by"),
    supersedes=lambda new, old: new.updated_at >= old.updated_at,
)
DOCUMENT_JOBS = Kind(
    name="document_jobs",
    singular="document job",
    type=DocumentJob,
    key=("id",),
    indexed=("owner",),
    supersedes=lambda new, old: new.attempts >= old.attempts,
    is_work=True,
)
PassageKey = tuple[DocumentId, int]
"""A document, and the number of a passage in its live version."""
VersionPassageKey = tuple[DocumentId, int, int]
"""A document, a version of it, and the number of a passage in that version."""
_SCOPES_AT_ONCE = 5000
_JOBS_AT_ONCE = 100


class Documents:
    """The documents of the store. This class does not check permissions: see `is_readable`."""

    def __init__(self, records: Records, blobs: Blobs) -> None:
        self._records, self._blobs = records, blobs

    def lock(self) -> None:
        """Lock out other writers of documents until the transaction ends."""
        self._records.exclusive(DOCUMENTS)

    def get(self, document_id: DocumentId) -> Document | None:
        """Return the document, or None."""
        return self._records.get(DOCUMENTS, document_id)

    def get_all(self, ids: Iterable[DocumentId]) -> Mapping[DocumentId, Document]:
        """Return the documents that exist."""
        keys = [(each,) for each in dict.fromkeys(ids)]
        return {each.id: each for each in self._records.get_all(DOCUMENTS, keys)}

    def put(self, document: Document, *, old: Document | None) -> None:
        """Store a document in place of `old`, the stored one.

        Raises:
            Conflict: the stored one is no longer `old`.
        """
        self._records.put(DOCUMENTS, document, expected=old)

    def remove(self, document_id: DocumentId) -> None:
        """Remove a document and its blobs; no-op if absent."""
        self._records.remove(DOCUMENTS, document_id)
        self._blobs.remove(folder_of(document_id))

    def page(
        self, scopes: Sequence[Scope], *, after: str = "", limit: int | None = None
    ) -> Sequence[Document]:
        """Return documents of these access classes, newest first, from the one after `after`."""
        found = [
            document
            for first in range(0, len(scopes), _SCOPES_AT_ONCE)
            for document in self._records.page_in(
                DOCUMENTS,
                field="scope",
                values=scopes[first : first + _SCOPES_AT_ONCE],
                after=(after,) if after else (),
                limit=limit,
            )
        ]
        return sorted(found, key=lambda each: each.id)[:limit]

    def all(self, *, after: str = "", limit: int | None = None) -> Sequence[Document]:
        """Return documents of any access class, as `page` does."""
        return self._records.page(DOCUMENTS, after=(after,) if after else (), limit=limit)

    def with_digest(self, digest: str) -> Sequence[Document]:
        """Return the documents whose newest version has these bytes."""
        return self._records.page(DOCUMENTS, field="digest", value=digest)

    def uploaded_by(
        self, owner: str, *, after: str = "", limit: int | None = None
    ) -> Sequence[Document]:
        """Return the documents of this uploader, from the one after `after`."""
        key = (after,) if after else ()
        return self._records.page(
            DOCUMENTS, field="uploaded_by", value=owner, after=key, limit=limit
        )

    def count_of(self, owner: str) -> int:
        """Return how many documents this caller has uploaded."""
        return self._records.count(DOCUMENTS, field="uploaded_by", value=owner)

    def is_alone(self, document: Document) -> bool:
        """Whether no other document has the access class of this one."""
        found = self._records.page(DOCUMENTS, field="scope", value=document.scope, limit=2)
        return all(each.id == document.id for each in found)

    # --- passages ------------------------------------------------------------------------------

    def put_passages(
        self, document_id: DocumentId, version: int, passages: Sequence[StoredPassage]
    ) -> None:
        """Store the passages of a version, which are numbered from 1 on."""
        for name, data in packed(document_id, version, passages):
            self._blobs.put(name, data)

    def all_passages(self, document: Document) -> Sequence[StoredPassage]:
        """Return the passages of the live version, in order."""
        if document.live is None:
            return []
        folder = passages_folder(document.id, document.live.number)
        found = self._blobs.get_all(self._blobs.names(folder))
        passages = [passage for blob in found.values() for passage in unpacked(blob)]
        return sorted(passages, key=lambda each: each.seq)

    def passages(self, keys: Iterable[PassageKey]) -> Mapping[PassageKey, FoundPassage]:
        """Return the passages that exist, with their documents."""
        wanted = list(dict.fromkeys(keys))
        return self.passages_in(self.get_all(document_id for document_id, _ in wanted), wanted)

    def passages_in(
        self, documents: Mapping[DocumentId, Document], wanted: Iterable[PassageKey]
    ) -> Mapping[PassageKey, FoundPassage]:
        """Return those of the passages that these documents have."""
        found = self.passages_of_versions(
            (document_id, live.number, seq)
            for document_id, seq in wanted
            if document_id in documents and (live := documents[document_id].live) is not None
        )
        return {(key[0], key[2]): _found(documents[key[0]], each) for key, each in found.items()}

    def passages_of_versions(
        self, keys: Iterable[VersionPassageKey]
    ) -> Mapping[VersionPassageKey, StoredPassage]:
        """Return the passages that exist, including those of earlier versions."""
        wanted: defaultdict[str, dict[int, VersionPassageKey]] = defaultdict(dict)
        for key in keys:
            wanted[passage_blob(*key)][key[2]] = key
        return {
            wanted[name][passage.seq]: passage
            for name, blob in self._blobs.get_all(sorted(wanted)).items()
            for passage in unpacked(blob, only=wanted[name])
        }

    # --- the queue -----------------------------------------------------------------------------

    def enqueue(self, document: Document) -> None:
        """Add a job for the newest version of a document."""
        version, owner = document.newest.number, document.uploaded_by
        waiting = self._records.count(DOCUMENT_JOBS, field="owner", value=owner)
        job = DocumentJob(
            id=job_id(waiting, document.id, version),
            document_id=document.id,
            version=version,
            owner=owner,
        )
        self._records.put(DOCUMENT_JOBS, job, expected=None)

    def enqueue_missing(self, waiting: Iterable[Document]) -> int:
        """Add a job for each of these documents that has none, and return their number."""
        jobs = {(job.document_id, job.version) for job in self._records.page(DOCUMENT_JOBS)}
        missing = [each for each in waiting if (each.id, each.newest.number) not in jobs]
        for each in missing:
            self.enqueue(each)
        return len(missing)

    def disown_jobs(self, owner: str) -> None:
        """Replace the jobs of an uploader by those of the remaining documents."""
        for job in self._records.page(DOCUMENT_JOBS, field="owner", value=owner):
            self.end_job(job)
            document = self.get(job.document_id)
            if document is not None and document.newest.number == job.version:
                self.enqueue(document)

    def has_jobs(self) -> bool:
        return bool(self._records.page(DOCUMENT_JOBS, limit=1))

    def take_job(self, by: str, now: datetime, *, most: int) -> DocumentJob | None:
        """Hold the next job; None if no job is free, or `most` are already held."""
        self._records.exclusive(DOCUMENT_JOBS)
        jobs = self._records.page(DOCUMENT_JOBS, limit=_JOBS_AT_ONCE)
        free = [job for job in jobs if not job.is_held(now)]
        if not free or len(jobs) - len(free) >= most:
            return None
        taken = free[0].taken(by, now)
        self._records.put(DOCUMENT_JOBS, taken, expected=free[0])
        return taken

    def renew_job(self, job: DocumentJob, now: datetime) -> bool:
        """Renew the lease of a job; False if it was lost."""
        stored = self._held(job)
        if stored is None:
            return False
        self._records.put(DOCUMENT_JOBS, stored.renewed(now), expected=stored)
        return True

    def is_held(self, job: DocumentJob) -> bool:
        """Whether the job still has the same holder."""
        return self._held(job) is not None

    def _held(self, job: DocumentJob) -> DocumentJob | None:
        stored = self._records.get(DOCUMENT_JOBS, job.id)
        return stored if stored is not None and stored.held_by == job.held_by else None

    def give_back(self, job: DocumentJob) -> None:
        """Release a job, unless it was lost."""
        stored = self._held(job)
        if stored is not None:
            self._records.put(DOCUMENT_JOBS, stored.given_back(), expected=stored)

    def end_job(self, job: DocumentJob) -> None:
        self._records.remove(DOCUMENT_JOBS, job.id)


def _found(document: Document, passage: StoredPassage) -> FoundPassage:
    if document.live is None:
        raise AssertionError("Only the passages of a version that answers are read.")
    return FoundPassage(
        document_id=document.id,
        version=document.live.number,
        title=document.title,
        passage=passage,
    )
