"""The last run of the retention."""

from datetime import datetime

from chatbot.domain.ports.records import Kind, Records
from chatbot.domain.retention import ONLY_RUN, RetentionRun, first_run


def _supersedes(new: RetentionRun, old: RetentionRun) -> bool:
    return new.claimed_at >= old.claimed_at


RETENTION_RUNS = Kind(
    name="retention_runs",
    singular="retention run",
    type=RetentionRun,
    key=("id",),
    supersedes=_supersedes,
)


class RetentionRuns:
    """The one record of its kind."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def claim(self, now: datetime, *, is_asked_for: bool = False) -> RetentionRun | None:
        """Claim the next run.

        Of concurrent processes, one gets it, the others get None. None also if it is not due yet,
        unless it `is_asked_for`.
        """
        self._records.exclusive(RETENTION_RUNS)
        last = self._records.get(RETENTION_RUNS, ONLY_RUN)
        if last is not None and not is_asked_for and not last.is_due(now):
            return None
        claimed = first_run(now) if last is None else last.claimed(now)
        if claimed != last:
            self._records.put(RETENTION_RUNS, claimed, expected=last)
        return claimed
