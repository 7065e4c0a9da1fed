"""The port to counters: amounts that count for a limited time, such as log-in attempts.

A counter holds amounts, each with the moment from which it no longer counts. The moment also groups:
amounts of a counter that expire together are stored as one. A repository that counts often rounds it
up: to the end of the minute for a rate limit, to the end of the month for a budget.

A reservation is an amount with an earlier expiry, such as the end of a turn's time-out. `settle`
replaces it by the used amount. If its process dies, it expires.
"""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self


@dataclass(frozen=True, slots=True, order=True)
class CounterKey:
    """The name of a counter among those of its kind.

    Names are stored as they are: use a digest for what must not be readable. A kind is a short
    word that is fixed in the code, and each kind has its own space in a bounded store.
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True, order=True)
class Count:
    """What a counter holds until a moment."""

    expires_at: datetime
    amount: int


LOGGED_KINDS = frozenset({"usage"})
"""The kinds to which something is added at every turn, without limits, and which are read rarely.

Their names begin with the day."""

BOUNDED_KINDS = frozenset({"attempts"})
"""The kinds whose counters anyone can make without signing in, so that a store bounds their number."""

PART_SEPARATOR = "|"
"""It separates the parts of a name, such as a day, a user and a model."""

Counts = Mapping[CounterKey, Sequence[Count]]
"""What each counter holds, by expiry. A counter without amounts is an empty sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A positive amount for a counter; `limit` is the maximum that the counter may hold including
    it.
    """

    key: CounterKey
    amount: int
    expires_at: datetime
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """The reserved amounts, and the used amounts that replace them at the moment `at`."""

    reserved: Sequence[Addition]
    used: Sequence[Addition]
    at: datetime


class Counters(Protocol):
    """Counters, shared by all processes of the store.

    An amount counts until `expires_at`, compared with the `now` of the caller. Expired amounts are
    dropped. A store without room for another counter of a bounded kind drops the one of that kind
    that holds the least, and of equal ones the one that expires first; of other kinds it drops
    nothing that counts. A damaged counter is empty.
    """

    def add(self, additions: Sequence[Addition], *, now: datetime) -> Sequence[Addition]:
        """Add all amounts, or none if one of them would exceed its limit.

        Concurrent calls have the same effect as if they came one after the other.

        Returns:
            The additions that would exceed their limits; none if all were added.
        """
        if all(addition.limit is None for addition in additions):
            self.settle((), additions, now=now)
            return ()
        keys = [addition.key for addition in additions]
        with self.exclusive(keys) as counters:
            exceeding = _exceeding(additions, counters.read(keys, now=now))
            if not exceeding:
                counters.settle((), additions, now=now)
        return exceeding

    @abstractmethod
    def settle(
        self, reserved: Sequence[Addition], used: Sequence[Addition], *, now: datetime
    ) -> None:
        """Subtract the reserved amounts and add the used ones, regardless of limits.

        A counter holds at least zero: nothing is subtracted from what has expired or was cleared.
        """

    @abstractmethod
    def read(self, keys: Sequence[CounterKey], *, now: datetime) -> Counts:
        """Return what each of these counters holds now."""

    @abstractmethod
    def scan(self, kind: str, *prefixes: str, now: datetime) -> Mapping[str, int]:
        """Return, by name, the total of each counter of a kind that holds something now.

        Only of names that begin with one of the prefixes; without a prefix, of none. Case matters.
        """

    @abstractmethod
    def clear(self, keys: Sequence[CounterKey]) -> None:
        """Clear these counters."""

    @abstractmethod
    def erase(self, part: str) -> Mapping[str, int]:
        """Remove durably every counter, of any kind, that has this part in its name.

        This searches the whole store, and is meant for the erasure of a person.

        Returns: The number of removed counters by kind.

        Raises:
            ValueError: it cannot be a part of a name.
        """

    @abstractmethod
    def exclusive(self, keys: Sequence[CounterKey]) -> AbstractContextManager[Self]:
        """Exclude other exclusive sections and limited additions of these counters.

        For a decision that depends on what they hold. Work on the counters that are returned, and
        hold them only briefly.
        """


def names_with_part(names: Iterable[str], part: str) -> list[str]:
    """Return the names that have this part.

    Raises:
        ValueError: it cannot be a part of a name: it is empty, as parts that are not known, or
            has a separator.
    """
    if not part or PART_SEPARATOR in part:
        raise ValueError(f"{part!r} is not a part of a counter's name")
    return [name for name in names if part in name.split(PART_SEPARATOR)]


def _exceeding(additions: Sequence[Addition], counts: Counts) -> list[Addition]:
    total: dict[CounterKey, int] = defaultdict(int)
    for key, held in counts.items():
        total[key] = sum(count.amount for count in held)
    for addition in additions:
        total[addition.key] += addition.amount
    return [each for each in additions if each.limit is not None and total[each.key] > each.limit]
