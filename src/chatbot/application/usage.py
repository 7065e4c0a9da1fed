"""Reports of the usage of callers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo

from chatbot.domain.authorization import require
from chatbot.domain.errors import InvalidInput, Unauthenticated
from chatbot.domain.identity import Principal, UserId
from chatbot.domain.names import department_key
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.storage import Storage
from chatbot.domain.usage import (
    USAGE,
    USAGE_DAYS,
    Dimension,
    UsageRow,
    Used,
    summed,
    usage_prefix,
    usage_rows,
)

_DAYS_AT_ONCE = 14
"""How many days are read in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """The usage between two days (inclusive), grouped by a dimension."""

    since: date
    until: date
    by: Dimension
    rows: Mapping[str, Used]


class UsageReports:
    """Reports usage by days of a time zone. Usage is kept for 400 days."""

    def __init__(self, storage: Storage, *, zone: tzinfo, clock: Clock) -> None:
        self._storage, self._zone, self._clock = storage, zone, clock

    async def own(
        self, principal: Principal, since: date | None, until: date | None
    ) -> UsageReport:
        """Report the usage of the caller, a person, by day.

        Raises:
            Unauthenticated: the caller is not a person.
            InvalidInput: the days are not a period, or too many.
        """
        if principal.user is None:
            raise Unauthenticated("This call requires a user: log in first.")
        first, last = self._period(since, until)
        rows = await self._rows(first, last, user=principal.user.id)
        return _report(first, last, Dimension.DAY, rows)

    async def all(
        self, principal: Principal, since: date | None, until: date | None, by: Dimension
    ) -> UsageReport:
        """Report the usage of everyone, or only of the department that the caller may see.

        Raises:
            Forbidden: the caller may not read usage.
            InvalidInput: the days are not a period, or too many.
        """
        require(principal, Permission.USAGE_READ)
        first, last = self._period(since, until)
        rows = await self._rows(first, last)
        only = principal.department_for(Permission.USAGE_READ)
        if only is not None:
            own = department_key(only)
            rows = [row for row in rows if department_key(row.payer.department) == own]
        return _report(first, last, by, rows)

    async def of_person(self, user_id: UserId) -> UsageReport:
        """Report the usage of a person by day, for as long as usage is kept."""
        last = self._clock().astimezone(self._zone).date()
        first = last - timedelta(days=USAGE_DAYS - 1)
        rows = await self._rows(first, last, user=user_id)
        return _report(first, last, Dimension.DAY, rows)

    def _period(self, since: date | None, until: date | None) -> tuple[date, date]:
        """Default: from the first day of the month of the last day, to today."""
        today = self._clock().astimezone(self._zone).date()
        last = until or max(today, since or today)
        first = since or last.replace(day=1)
        if first > last:
            raise InvalidInput("`from` is after `to`.")
        if (last - first).days >= USAGE_DAYS:
            raise InvalidInput(f"A report can cover at most {USAGE_DAYS} days.")
        return first, last

    async def _rows(self, first: date, last: date, *, user: str = "") -> Sequence[UsageRow]:
        now, found = self._clock(), list[UsageRow]()
        for days in _in_parts(first, last):
            prefixes = [usage_prefix(day.isoformat(), user) for day in days]
            found += await self._storage.transact(
                lambda tx, prefixes=prefixes: list(  # type: ignore[misc] # a default
                    usage_rows(tx.counters.scan(USAGE, *prefixes, now=now))
                )
            )
        return found


def _report(first: date, last: date, by: Dimension, rows: Sequence[UsageRow]) -> UsageReport:
    return UsageReport(since=first, until=last, by=by, rows=summed(rows, by))


def _in_parts(first: date, last: date) -> Iterator[Sequence[date]]:
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    for start in range(0, len(days), _DAYS_AT_ONCE):
        yield days[start : start + _DAYS_AT_ONCE]
