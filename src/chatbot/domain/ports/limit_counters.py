"""The port to the counters of limits, apart from a transaction of the store.

Several deployments, or a store whose commits cost too much, count in a server of their own.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chatbot.domain.ports.counters import Addition, CounterKey, Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a turn has reserved, and what it has used instead; `id` is unique."""

    id: str
    reserved: Sequence[Addition]
    used: Sequence[Addition]


class LimitCounters(Protocol):
    """Counters as `Counters` has them, each call a transaction of its own.

    Every method raises `StorageUnavailable` if the counters cannot be reached, or answer nonsense;
    the call may have been carried out nevertheless.
    """

    @abstractmethod
    async def add(self, additions: Sequence[Addition], *, now: datetime) -> Sequence[Addition]:
        """Add all the amounts, or none; return the additions that would exceed their limits."""

    @abstractmethod
    async def settle(self, settlement: Settlement, *, now: datetime) -> None:
        """Subtract the reserved amounts and add the used ones, whatever the limits.

        A settlement that is repeated within an hour, as its answer was lost, is carried out once.
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
        """Disconnect, if that is necessary."""
