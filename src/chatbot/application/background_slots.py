"""A limit on concurrent background work that serves the owners in turn."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from chatbot.domain.identity import Owner


class BackgroundSlots:
    """At most `count` slots in use. Waiting owners take turns, so that no backlog delays the others.

    Requests of one owner are served in order of arrival.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: OrderedDict[Owner, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def acquired(self, owner: Owner) -> AsyncGenerator[None]:
        """Wait for a slot and hold it until the end of the block."""
        await self._acquire(owner)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, owner: Owner) -> None:
        if self._free:
            self._free -= 1
            return
        slot = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(slot)
        try:
            await slot
        except asyncio.CancelledError:
            if not slot.cancelled():  # the slot was assigned at the same moment
                self._release()
            raise

    def _release(self) -> None:
        """Assign the slot to the next owner, skipping cancelled requests."""
        while self._waiting:
            owner, slots = self._waiting.popitem(last=False)
            slot = slots.popleft()
            if slots:
                self._waiting[owner] = slots
            if not slot.done():
                slot.set_result(None)
                return
        self._free += 1
