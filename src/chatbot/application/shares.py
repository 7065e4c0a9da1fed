"""A limit per owner, so that one owner cannot take all of the model's slots."""

import asyncio
from dataclasses import dataclass

from chatbot.domain.errors import RateLimited
from chatbot.domain.identity import Owner

WAIT_S = 0.5
_RETRY_AFTER_S = 2.0


@dataclass(slots=True)
class _Share:
    slots: asyncio.Semaphore
    users: int = 0
    waiting: int = 0


class Shares:
    """Limits an owner to `most` concurrent turns in this process.

    As many again may wait for half a second, so that a client whose answers are fast need not count.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._shares: dict[Owner, _Share] = {}

    async def acquire(self, owner: Owner) -> None:
        """Begin a turn; `release` ends it.

        Raises:
            RateLimited: the owner has the maximum of turns in progress.
        """
        share = self._shares.setdefault(owner, _Share(asyncio.Semaphore(self._most)))
        share.users += 1
        try:
            await self._acquire(share)
        except BaseException:
            self._leave(owner)
            raise

    async def _acquire(self, share: _Share) -> None:
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

    def release(self, owner: Owner) -> None:
        self._shares[owner].slots.release()
        self._leave(owner)

    def _leave(self, owner: Owner) -> None:
        share = self._shares[owner]
        share.users -= 1
        if not share.users:
            del self._shares[owner]

    def _refusal(self) -> RateLimited:
        return RateLimited(
            f"You already have {self._most} answers in progress: wait for one of them to finish.",
            retry_after_s=_RETRY_AFTER_S,
        )
