"""Accesses of others to people's data."""

from collections.abc import Sequence

from chatbot.domain.access import Access
from chatbot.domain.identity import UserId
from chatbot.domain.ports.records import Kind, Records

ACCESSES = Kind(
    name="accesses",
    singular="access",
    type=Access,
    key=("id",),
    indexed=("user_id",),
    subject="user_id",
)


class Accesses:
    """The looks of others at people's data."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def add(self, access: Access) -> None:
        self._records.put(ACCESSES, access, expected=None)

    def of(self, user_id: UserId, *, limit: int, after: str = "") -> Sequence[Access]:
        """Return the accesses to a person's data, newest first, after the one with this id."""
        key = (after,) if after else ()
        return self._records.page(ACCESSES, field="user_id", value=user_id, after=key, limit=limit)
