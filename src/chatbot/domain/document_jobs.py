"""The queue of versions that wait for extraction. Each job is held by a lease while it is processed."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chatbot.domain.documents import DocumentId

LEASE = timedelta(seconds=30)
"""How long a job stays held after its process has stopped renewing it."""
MAX_ATTEMPTS = 3
"""After this many processes have died while processing a job, it is not retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentJob:
    """A version to be extracted and indexed.

    Jobs are taken in the order of their ids, which begin with how many jobs the uploader had waiting
    at that moment: a thousand documents of one person do not keep those of others waiting.
    `held_by` identifies the holder of the job until `held_until`.
    """

    id: str
    document_id: DocumentId
    version: int
    owner: str
    attempts: int = 0
    held_by: str = ""
    held_until: datetime | None = None

    def is_held(self, now: datetime) -> bool:
        return self.held_until is not None and now < self.held_until

    def taken(self, by: str, now: datetime) -> "DocumentJob":
        """Return the job, held by this holder."""
        attempts = self.attempts + 1
        return replace(self, held_by=by, held_until=now + LEASE, attempts=attempts)

    def renewed(self, now: datetime) -> "DocumentJob":
        return replace(self, held_until=now + LEASE)

    def given_back(self) -> "DocumentJob":
        """Return the job without a holder."""
        return replace(self, held_by="", held_until=None, attempts=self.attempts - 1)


def job_id(waiting: int, document_id: DocumentId, version: int) -> str:
    """Return the id of a job whose uploader has `waiting` other jobs."""
    return f"{waiting:08d}-{_later_first_reversed(document_id)}-{version}"


def _later_first_reversed(document_id: DocumentId) -> str:
    """Return a sort key that puts earlier documents first; their ids sort in the opposite order."""
    return f"{16**16 - 1 - int(document_id[:16], 16):016x}{document_id[16:]}"
