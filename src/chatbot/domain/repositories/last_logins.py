"""When people last logged in.

Stored apart from the users, so that a log-in neither rewrites a document of all people nor
conflicts with changes of the user.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from chatbot.domain.errors import Conflict
from chatbot.domain.identity import UserId
from chatbot.domain.ports.records import Kind, Records

EXACT_TO = timedelta(minutes=1)
"""A log-in within this time of the previous one is not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastLogin:
    """The last log-in of a user, accurate to a minute."""

    user_id: UserId
    at: datetime


LAST_LOGINS = Kind(
    name="last_logins",
    singular="last log-in",
    type=LastLogin,
    key=("user_id",),
    subject="user_id",
    supersedes=lambda new, old: new.at >= old.at,
)


class LastLogins:
    """The last log-ins of the store."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def record(self, user_id: UserId, at: datetime) -> None:
        """Store the time, unless a time within a minute is already stored."""
        old = self._records.get(LAST_LOGINS, user_id)
        if old is not None and abs(at - old.at) < EXACT_TO:
            return
        try:
            self._records.put(LAST_LOGINS, LastLogin(user_id=user_id, at=at), expected=old)
        except Conflict:
            return  # another log-in of the user has been stored at this moment

    def of(self, user_ids: Iterable[UserId]) -> Mapping[UserId, datetime]:
        """Return the times of all users who have ever logged in."""
        found = self._records.get_all(LAST_LOGINS, [(each,) for each in user_ids])
        return {each.user_id: each.at for each in found}
