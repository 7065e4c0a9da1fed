"""The sign-in of a user: the family of tokens that follow from one log-in."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from chatbot.domain.identity import ClientId, FamilyId, User, UserId

REPEAT_WINDOW = timedelta(seconds=10)
"""For how long the newest exchange can be repeated, because its answer was lost."""


class Exchange(Enum):
    """The result of presenting a refresh token."""

    NEXT = auto()
    """The newest one: exchange it for the next."""
    REPEATED = auto()
    """Exchanged a moment ago: the response may have been lost."""
    REUSED = auto()
    """Exchanged before, or of another client: the token was copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFamily:
    """One sign-in of a user through a client.

    Its refresh tokens are numbered, and only the one with `number` can be exchanged. They are
    derived from id and number, and never stored. A family that has ended is kept until it would
    have expired, so that no older copy of the store revives it.
    """

    id: FamilyId
    user_id: UserId
    client_id: ClientId
    number: int
    renewed_at: datetime
    expires_at: datetime
    token_stamp: str
    ended_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether it has neither ended nor expired."""
        return self.ended_at is None and now < self.expires_at

    def signs_in(self, user_id: UserId) -> bool:
        """Whether its access tokens are valid for this user, until they expire."""
        return self.user_id == user_id and self.ended_at is None

    def exchange(self, number: int, client_id: ClientId, now: datetime) -> Exchange:
        """Return the result of presenting the token with this number as this client."""
        if client_id != self.client_id:
            return Exchange.REUSED
        if number == self.number:
            return Exchange.NEXT
        is_recent = abs(now - self.renewed_at) <= REPEAT_WINDOW  # the clock may be set back
        return Exchange.REPEATED if is_recent and number == self.number - 1 else Exchange.REUSED

    def renewed(self, now: datetime, lifetime: timedelta) -> "RefreshFamily":
        """Return the family after its newest token was exchanged for the next."""
        return replace(self, number=self.number + 1, renewed_at=now, expires_at=now + lifetime)

    def ended(self, now: datetime) -> "RefreshFamily":
        """Return the family after its end."""
        return replace(self, ended_at=now)

    def belongs_to(self, user: User, now: datetime) -> bool:
        """Whether the user may still use it, because the user's tokens have not been revoked since."""
        return (
            user.may_sign_in(now)
            and user.id == self.user_id
            and user.token_stamp == self.token_stamp
        )
