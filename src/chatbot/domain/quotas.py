"""Quotas: how much a caller may use in a window of time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum


class Unit(StrEnum):
    """What a quota counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    STREAMS = "streams"
    """Simultaneous answers."""


class Period(StrEnum):
    """How long a window of a quota is. It begins with the minute, hour, day or month."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The window that contains a moment; `name` differs from that of every other one."""

    name: str
    begins_at: datetime
    ends_at: datetime

    @property
    def seconds(self) -> int:
        """The length of the window."""
        return int((self.ends_at - self.begins_at).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """A quota that is used up.

    Without a window, it is one of simultaneous answers. `reset_s` is the time until the window
    ends.
    """

    name: str
    unit: Unit
    amount: int
    window: Window | None = None
    reset_s: float | None = None


def window_of(period: Period, now: datetime, zone: tzinfo) -> Window:
    """Return the window of a moment; days and months are those of the time zone."""
    if period is Period.MINUTE:
        begins_at = now.astimezone(UTC).replace(second=0, microsecond=0)
        return _window(begins_at, begins_at + timedelta(minutes=1), "%Y-%m-%dT%H:%M")
    if period is Period.HOUR:
        begins_at = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return _window(begins_at, begins_at + timedelta(hours=1), "%Y-%m-%dT%H")
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period is Period.DAY:
        return _window(midnight, midnight + timedelta(days=1), "%Y-%m-%d")
    first = midnight.replace(day=1)
    return _window(first, (first + timedelta(days=31)).replace(day=1), "%Y-%m")


def _window(begins_at: datetime, ends_at: datetime, form: str) -> Window:
    """Both moments are in the same time zone, in which the name is written."""
    return Window(
        name=begins_at.strftime(form),
        begins_at=begins_at.astimezone(UTC),
        ends_at=ends_at.astimezone(UTC),
    )
