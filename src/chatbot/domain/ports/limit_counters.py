"""The port to counters of limits outside transactions of the store.

Deployments with several stores, or with expensive commits, count in a separate server.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chatbot.domain.ports.counters import Addition, CounterKey, Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The reserved and the used amounts of a turn; `id` is unique."""

    id: str
    reserved: Sequence[Addition]
    used: Sequence[Addition]


class LimitCounters(Protocol):
    """Counters as `Counters` has them, each call a transaction of its own.

    Every method raises `StorageUnavailable` if the counters cannot be reached or return invalid
    data; the call may have taken effect nevertheless.
    """

    @abstractmethod
    async def add(self, additions: Sequence[Addition], *, now: datetime) -> Sequence[Addition]:
        """Add all the amounts, or none; return the additions that would exceed their limits."""

    @abstractmethod
    async def settle(self, settlement: Settlement, *, now: datetime) -> None:
        """Subtract the reserved amounts and add the used ones, whatever the limits.

        A settlement that is repeated within an hour because its response was lost takes effect once.
        """

    @abstractmethod
    async def read(self, keys: Sequence[CounterKey], *, now: datetime) -> Counts:
        """Return what each of these counters holds now."""

    @abstractmethod
    async def erase(self, part: str) -> Mapping[str, int]:
        """Remove each counter that has this part in its name; returns how many of each kind.

        Raises:
            ValueError: it cannot be a part of a name.
        """

    @abstractmethod
    async def check(self) -> None:
        """Check that amounts can be counted now."""

    @abstractmethod
    async def aclose(self) -> None:
        """Disconnect, if connected."""
