"""A limit per owner, so that one owner cannot take all of the model's slots."""

import asyncio
from dataclasses import dataclass
from weakref import WeakValueDictionary

from chatbot.domain.errors import RateLimited
from chatbot.domain.identity import Owner

WAIT_S = 0.5
_RETRY_AFTER_S = 2.0


@dataclass(slots=True, weakref_slot=True)
class Share:
    """The turns of one owner that are in progress, and how many wait to begin."""

    slots: asyncio.Semaphore
    waiting: int = 0


class Shares:
    """Limits an owner to `most` concurrent turns in this process.

    As many again may wait for half a second, so that a client whose answers are fast need not count.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._shares: WeakValueDictionary[Owner, Share] = WeakValueDictionary()

    async def acquire(self, owner: Owner) -> Share:
        """Begin a turn; keep the share, and release one of its slots when the turn has ended.

        Raises:
            RateLimited: the owner has the maximum of turns in progress.
        """
        share = self._shares.setdefault(owner, Share(asyncio.Semaphore(self._most)))
        await self._acquire(share)
        return share

    async def _acquire(self, share: Share) -> None:
        if not share.slots.locked():
            await share.slots.acquire()
            return
        if share.waiting >= self._most:
            raise self._refusal()
        share.waiting += 1
        try:
            async with asyncio.timeout(WAIT_S):
                await share.slots.acquire()
        except TimeoutError as error:
            raise self._refusal() from error
        finally:
            share.waiting -= 1

    def _refusal(self) -> RateLimited:
        return RateLimited(
            f"You already have {self._most} answers in progress: wait for one of them to finish.",
            retry_after_s=_RETRY_AFTER_S,
        )
