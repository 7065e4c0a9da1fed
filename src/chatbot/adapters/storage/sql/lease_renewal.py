"""Renews the leases of this process while its turns run.

A lease is a turn id in the session's row, until a time by the database's clock. While a turn runs,
its replica renews the lease. When a replica dies, its leases expire, and the next turn acquires the
session; from then on the old turn writes nothing, because every write checks its turn. Until then a
late write is accepted: no one has written in between.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager

from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.session_statements import RENEW, held_values
from chatbot.domain.chat import Lease
from chatbot.domain.errors import StorageFailure, cause_of

_log = logging.getLogger("chatbot.storage")


class LeaseRenewal:
    """The leases that this process holds.

    Args:
        run: does a piece of work in a transaction.
        before: called before each renewal.
    """

    def __init__(
        self,
        run: Callable[[Callable[[SqlSession], None]], Awaitable[None]],
        *,
        lease_s: float,
        renew_s: float,
        before: Callable[[], None],
    ) -> None:
        self._run, self._before = run, before
        self._lease_s, self._renew_s = lease_s, renew_s
        self._held: set[Lease] = set()
        self._renewing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start in the background."""
        self._renewing = asyncio.create_task(self._renew())

    async def aclose(self) -> None:
        """Stop; a renewal in progress is cancelled."""
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            renewing.cancel()
            await asyncio.wait({renewing})

    @contextmanager
    def renewing(self, lease: Lease) -> Iterator[None]:
        """See `Storage.renewing`."""
        self._held.add(lease)
        try:
            yield
        finally:
            self._held.discard(lease)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._renew_s)
            self._before()
            try:
                await self.renew_once()
            except StorageFailure as error:
                _log.warning("leases could not be renewed: %s", cause_of(error))

    async def renew_once(self) -> None:
        """Renew all of them, in an order that cannot deadlock."""
        held = sorted(self._held, key=lambda lease: lease.session_id)
        if held:
            await self._run(lambda sql: renew(sql, held, seconds=self._lease_s))


def renew(sql: SqlSession, leases: Iterable[Lease], *, seconds: float) -> None:
    """Renew the leases that no other turn has acquired."""
    for lease in leases:
        sql.write(RENEW, {**held_values(lease), "seconds": seconds})
