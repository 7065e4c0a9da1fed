"""The log of accesses to a person's data, which the person can see. Erased with the person."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from chatbot.domain.chat import SessionId
from chatbot.domain.identity import Principal, UserId

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST = 2**64


class AccessKind(StrEnum):
    """The type of access."""

    READ = "read"
    """A conversation was read."""
    EXPORT = "export"
    """Everything was exported."""
    HOLD = "hold"
    """A session was put on hold."""
    RELEASE = "release"
    """A hold was ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One access to a person's data by another. Ids sort from the newest to the oldest."""

    id: str
    user_id: UserId
    action: AccessKind
    at: datetime
    by: str
    session_id: SessionId | None = None
    reason: str = ""


def access_id(at: datetime, random_id: str) -> str:
    """Return an id that sorts before those of earlier moments."""
    return f"{_MOST - (at - _EPOCH) // _MICROSECOND:016x}-{random_id}"


def label_of(principal: Principal) -> str:
    """Return who the caller is, as the person concerned sees it."""
    if principal.user is not None:
        return f"user {principal.user.id}"
    if principal.source.cli_user:
        return f"host account {principal.source.cli_user}"
    return f"application {principal.client.id}"
