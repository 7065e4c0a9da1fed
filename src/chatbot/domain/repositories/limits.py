"""The limits that administrators have set."""

from collections.abc import Sequence

from chatbot.domain.errors import Conflict
from chatbot.domain.limits import MAX_LIMITS, Limit, Subject
from chatbot.domain.ports.records import Kind, Layout, Records

LIMITS = Kind(
    name="limits",
    singular="limit",
    type=Limit,
    key=("id",),
    layout=Layout.OBJECT,
    folder="auth",
    subject="name",
    is_personal=lambda limit: limit.subject is Subject.USER,
)


class LimitRecords:
    """The limits of the store."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def all(self) -> Sequence[Limit]:
        """Return the limits, sorted by id."""
        return self._records.page(LIMITS)

    def get(self, limit_id: str) -> Limit | None:
        """Return the limit, or None."""
        return self._records.get(LIMITS, limit_id)

    def put(self, limit: Limit, *, old: Limit | None) -> None:
        """Store a limit in place of `old`, the stored one.

        Raises:
            Conflict: another limit has the same subject, kind, window and model; or there are too
                many.
        """
        others = [each for each in self.all() if each.id != limit.id]
        for each in others:
            if each.scope == limit.scope:
                raise Conflict(f"The limit {each.id} already covers this: change it instead.")
        if len(others) >= MAX_LIMITS:
            raise Conflict(f"There are {MAX_LIMITS} limits: delete one first.")
        self._records.put(LIMITS, limit, expected=old)

    def remove(self, limit_id: str) -> None:
        """Remove the limit; no-op if absent."""
        self._records.remove(LIMITS, limit_id)

    def lock(self) -> None:
        """Lock out other writers of limits until the transaction ends."""
        self._records.exclusive(LIMITS)
