"""How long conversations are kept, and when a process may delete expired ones."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

EVERY = timedelta(hours=1)
LONGEST_GAP = timedelta(hours=26)
"""After a longer gap, the clock may have jumped or the service was stopped: both look the same."""
ONLY_RUN = "sessions"
DOUBTED_FOR = timedelta(hours=24)
"""The time that an operator has to notice a wrong clock before anything is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRule:
    """The days after which a session is deleted, for a role or, without one, for everyone.

    0 = for ever.
    """

    role: str | None
    days: int


def days_of(roles: Collection[str], rules: Iterable[RetentionRule], *, default: int) -> int:
    """Return the days for an owner with these roles; 0 = for ever.

    A rule of a role precedes one for everyone, which precedes the default. Of several, the shortest
    time holds.
    """
    known = list(rules)
    of_roles = [rule.days for rule in known if rule.role in roles]
    of_all = [rule.days for rule in known if rule.role is None]
    return min(of_roles or of_all or [default], key=lambda days: days or float("inf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRun:
    """The last run, so that only one of many processes does the next one.

    `doubted_since` is set while the clock may be wrong.
    """

    id: str
    claimed_at: datetime
    doubted_since: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Whether the next run is due. Not while the clock is behind the last run."""
        return now >= self.claimed_at + EVERY

    def claimed(self, now: datetime) -> "RetentionRun":
        """Return the claim at this moment; after a gap, the clock is doubted for a day."""
        doubted_since = self.doubted_since
        if now - self.claimed_at > LONGEST_GAP:
            doubted_since = now
        elif doubted_since is not None and now - doubted_since >= DOUBTED_FOR:
            doubted_since = None
        return replace(self, claimed_at=now, doubted_since=doubted_since)


def first_run(now: datetime) -> RetentionRun:
    """Return the claim in a store without an earlier run, where nothing confirms the clock."""
    return RetentionRun(id=ONLY_RUN, claimed_at=now, doubted_since=now)
