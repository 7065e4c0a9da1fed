"""Counters in memory, and the table of them that the JSON store keeps in a file."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Self

from chatbot.domain.ports.counters import (
    BOUNDED_KINDS,
    Addition,
    Count,
    CounterKey,
    Counters,
    Counts,
    names_with_part,
)

_MORE_NAMES = 4
_MAX_NAMES = 10_000
_BYTES_OF_AN_AMOUNT = 50


class CounterTable:
    """Counters of one kind by name; `amounts` has their amounts by expiry.

    Args:
        max_names: how many there may be of a bounded kind.
        is_logged: whether `changes` collects the new amounts; zero means removed.
    """

    def __init__(
        self,
        kind: str,
        amounts: dict[str, dict[datetime, int]] | None = None,
        *,
        max_names: int,
        is_logged: bool = False,
    ) -> None:
        self.amounts = {} if amounts is None else amounts
        self.changes: dict[tuple[str, datetime], int] = {}
        self._max_names = max_names if kind in BOUNDED_KINDS else sys.maxsize
        self._is_logged = is_logged
        self._drop_from = 0

    @property
    def size(self) -> int:
        """About how many bytes their names and amounts take."""
        return sum(
            len(name) + _BYTES_OF_AN_AMOUNT * len(held) for name, held in self.amounts.items()
        )

    def read(self, name: str, now: datetime) -> Sequence[Count]:
        return sorted(Count(*held) for held in _live(self.amounts.get(name, {}), now).items())

    def add(self, name: str, expires_at: datetime, amount: int, *, now: datetime) -> None:
        """Add an amount, and make room for it.

        If there are too many counters, those that hold the least are evicted first, so that a flood
        of invented names does not evict the one whose password is being guessed.
        """
        if name not in self.amounts:
            self._make_room(now)
        held = self.amounts[name] = _live(self.amounts.get(name, {}), now)
        self.put(name, expires_at, held.get(expires_at, 0) + amount)

    def subtract(self, name: str, expires_at: datetime, amount: int) -> None:
        """Subtract the amount, down to zero."""
        found = self.amounts.get(name, {}).get(expires_at, 0)
        if found:
            self.put(name, expires_at, max(0, found - amount))

    def put(self, name: str, expires_at: datetime, amount: int) -> None:
        """Set an amount; zero removes it."""
        held = self.amounts.setdefault(name, {})
        if amount:
            held[expires_at] = amount
        else:
            held.pop(expires_at, None)
        if not held:
            del self.amounts[name]
        if self._is_logged:
            self.changes[name, expires_at] = amount

    def clear(self, name: str) -> None:
        for expires_at in [*self.amounts.get(name, ())]:
            self.put(name, expires_at, 0)

    def totals(self, prefixes: Iterable[str], now: datetime) -> Mapping[str, int]:
        """Return the totals by name of the non-empty counters with such a name."""
        begins = tuple(prefixes)
        found = ((name, self.read(name, now)) for name in self.amounts if name.startswith(begins))
        return {name: sum(count.amount for count in held) for name, held in found if held}

    def erase(self, part: str) -> int:
        """Remove the counters with this part in their names; returns their number."""
        names = names_with_part(self.amounts, part)
        for name in names:
            self.clear(name)
        return len(names)

    def drop_expired(self, now: datetime) -> None:
        live = {name: _live(held, now) for name, held in self.amounts.items()}
        self.amounts = {name: held for name, held in live.items() if held}

    def _make_room(self, now: datetime) -> None:
        """Drop expired counters, but only once there are twice as many, because this scans all of
        them.
        """
        if len(self.amounts) >= min(self._drop_from, self._max_names):
            self.drop_expired(now)
            self._drop_from = 2 * len(self.amounts) + _MORE_NAMES
        while len(self.amounts) >= self._max_names:
            self.clear(min(self.amounts, key=self._weight))

    def _weight(self, name: str) -> tuple[int, datetime]:
        held = self.amounts[name]
        return sum(held.values()), max(held)


def _live(held: dict[datetime, int], now: datetime) -> dict[datetime, int]:
    return {at: amount for at, amount in held.items() if at > now}


class InMemoryCounters(Counters):
    """Counters that last as long as their process. No two transactions interleave."""

    def __init__(self) -> None:
        self._tables: dict[str, CounterTable] = {}

    def settle(
        self, reserved: Sequence[Addition], used: Sequence[Addition], *, now: datetime
    ) -> None:
        for addition in reserved:
            table = self._table(addition.key.kind)
            table.subtract(addition.key.name, addition.expires_at, addition.amount)
        for addition in used:
            table = self._table(addition.key.kind)
            table.add(addition.key.name, addition.expires_at, addition.amount, now=now)

    def read(self, keys: Sequence[CounterKey], *, now: datetime) -> Counts:
        return {key: self._table(key.kind).read(key.name, now) for key in keys}

    def clear(self, keys: Sequence[CounterKey]) -> None:
        for key in keys:
            self._table(key.kind).clear(key.name)

    def scan(self, kind: str, *prefixes: str, now: datetime) -> Mapping[str, int]:
        return self._table(kind).totals(prefixes, now)

    def erase(self, part: str) -> Mapping[str, int]:
        found = {kind: table.erase(part) for kind, table in self._tables.items()}
        return {kind: count for kind, count in found.items() if count}

    def exclusive(self, keys: Sequence[CounterKey]) -> AbstractContextManager[Self]:  # noqa: ARG002 # work is never interleaved
        return nullcontext(self)

    def _table(self, kind: str) -> CounterTable:
        if kind not in self._tables:
            self._tables[kind] = CounterTable(kind, max_names=_MAX_NAMES)
        return self._tables[kind]
