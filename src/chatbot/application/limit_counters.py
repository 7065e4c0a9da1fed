"""Counting against limits, also while the counters cannot be reached.

Requests pass uncounted, as the service would otherwise be down with its counters. Reservations of
tokens are refused, because tokens cost money. Tokens of turns in progress are counted later.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from chatbot.domain.errors import StorageFailure, StorageUnavailable, cause_of
from chatbot.domain.ports.counters import Addition, CounterKey, Counts
from chatbot.domain.ports.limit_counters import LimitCounters, Settlement
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction

logger = logging.getLogger("chatbot.limits")

PAUSE_S = 1.0
"""After a failure, one call per second tries again; the others do not wait for it."""
_SETTLED = "settled"
_SETTLED_FOR = timedelta(hours=1)
_Found = TypeVar("_Found")


class StoreLimitCounters(LimitCounters):
    """The counters of the store, in transactions of their own."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def add(self, additions: Sequence[Addition], *, now: datetime) -> Sequence[Addition]:
        return await self._storage.add_counts(additions, now=now)

    async def settle(self, settlement: Settlement, *, now: datetime) -> None:
        once = Addition(
            key=CounterKey(_SETTLED, settlement.id),
            amount=1,
            expires_at=now + _SETTLED_FOR,
            limit=1,
        )

        def work(tx: Transaction) -> None:
            if not tx.counters.add([once], now=now):
                tx.counters.settle(settlement.reserved, settlement.used, now=now)

        await self._storage.transact(work)

    async def read(self, keys: Sequence[CounterKey], *, now: datetime) -> Counts:
        return await self._storage.transact(lambda tx: tx.counters.read(keys, now=now))

    async def erase(self, part: str) -> Mapping[str, int]:
        return await self._storage.transact(lambda tx: tx.counters.erase(part))

    async def check(self) -> None:
        await self._storage.check()

    async def aclose(self) -> None:
        """The store is opened and closed elsewhere."""


class LimitChecks:
    """Counts requests and tokens for this process, whether or not the counters can be reached."""

    def __init__(self, counters: LimitCounters) -> None:
        self._counters = counters
        self._unsettled: deque[tuple[Settlement, datetime]] = deque()
        self._settling = asyncio.Lock()
        self._catching_up: asyncio.Task[None] | None = None
        self._is_down, self._try_again_at = False, 0.0

    async def count(self, requests: Sequence[Addition], *, now: datetime) -> Sequence[Addition]:
        """Count requests.

        If some would exceed their limits, count none and return those. While the counters cannot be
        reached, no limit is exceeded.
        """
        try:
            return await self._attempt(lambda: self._counters.add(requests, now=now))
        except StorageFailure:
            return ()

    async def reserve(self, tokens: Sequence[Addition], *, now: datetime) -> Sequence[Addition]:
        """Reserve tokens. If some would exceed their limits, reserve none and return those.

        Raises:
            StorageUnavailable: the counters cannot be reached.
        """
        return await self._attempt(lambda: self._counters.add(tokens, now=now))

    async def settle(
        self, reserved: Sequence[Addition], used: Sequence[Addition], *, now: datetime
    ) -> None:
        """Replace reserved tokens by used ones, or later if the counters cannot be reached.

        At most the turns that were in progress then are waiting: without counters, nothing is
        reserved.
        """
        settlement = Settlement(id=secrets.token_hex(16), reserved=reserved, used=used)
        self._unsettled.append((settlement, now))
        await self._settle_all()

    async def erase(self, part: str) -> Mapping[str, int]:
        """Remove the counters whose names contain this person.

        Raises:
            StorageUnavailable: the counters cannot be reached.
        """
        return await self._attempt(lambda: self._counters.erase(part))

    async def aclose(self) -> None:
        """Settle what is possible, and disconnect."""
        if self._catching_up is not None:
            await asyncio.wait({self._catching_up})
        self._try_again_at = 0.0
        await self._settle_all()
        if self._unsettled:
            logger.warning("turns whose tokens could not be counted: %d", len(self._unsettled))
        await self._counters.aclose()

    async def _settle_all(self) -> None:
        """Settle in order; each settlement stays queued until it succeeds."""
        async with self._settling:
            while self._unsettled:
                settlement, now = self._unsettled[0]
                try:
                    await self._attempt(partial(self._counters.settle, settlement, now=now))
                except StorageFailure:
                    return
                self._unsettled.popleft()

    async def _attempt(self, call: Callable[[], Awaitable[_Found]]) -> _Found:
        self._require_due()
        try:
            found = await call()
        except StorageFailure as error:
            self._note_failure(error)
            raise
        self._note_success()
        return found

    def _require_due(self) -> None:
        if not self._is_down:
            return
        now = asyncio.get_running_loop().time()
        if now < self._try_again_at:
            raise StorageUnavailable("The limits cannot be checked right now. Try again.")
        self._try_again_at = now + PAUSE_S

    def _note_failure(self, error: StorageFailure) -> None:
        self._try_again_at = asyncio.get_running_loop().time() + PAUSE_S
        if not self._is_down:
            self._is_down = True
            logger.error(
                "limits cannot be checked: requests are accepted, turns under a token budget are rejected: %s",
                cause_of(error),
            )

    def _note_success(self) -> None:
        if self._is_down:
            self._is_down = False
            logger.warning("limits are checked again")
        is_settling = self._settling.locked() or not (
            self._catching_up is None or self._catching_up.done()
        )
        if self._unsettled and not is_settling:
            self._catching_up = asyncio.create_task(self._settle_all())
