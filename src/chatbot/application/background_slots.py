"""BackgroundSlots for work in the background, shared by owners in turn."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from chatbot.domain.identity import Owner


class BackgroundSlots:
    """So many at once. Who waits is served owner by owner, so that nobody's backlog is in front.

    Of one owner the order is that of arrival.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: OrderedDict[Owner, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def taken(self, owner: Owner) -> AsyncGenerator[None]:
        """Wait for a place and keep it until the end of the block."""
        await self._take(owner)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, owner: Owner) -> None:
        if self._free:
            self._free -= 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it was given in the same moment
                self._give_back()
            raise

    def _give_back(self) -> None:
        """Hand the place to the next owner; whoever was cancelled meanwhile is passed over."""
        while self._waiting:
            owner, places = self._waiting.popitem(last=False)
            place = places.popleft()
            if places:
                self._waiting[owner] = places
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
