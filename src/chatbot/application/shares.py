"""A limit per owner, so that one owner cannot take all of the model's slots."""

import asyncio
from dataclasses import dataclass
from weakref import WeakValueDictionary

from chatbot.domain.errors import RateLimited
from chatbot.domain.identity import Owner
from chatbot.domain.quotas import Quota, Unit

WAIT_S = 0.5
_RETRY_AFTER_S = 2.0


@dataclass(slots=True, weakref_slot=True)
class Share:
    """The turns of one owner in progress, and the number that are waiting to begin."""

    slots: asyncio.Semaphore
    waiting: int = 0


class Shares:
    """Limits the concurrent turns of an owner in this process.

    As many again may wait for half a second, so that clients with fast answers need not count.

    Args:
        per_user: how many a person may have.
        per_client: how many a client without a user may have.
    """

    def __init__(self, *, per_user: int, per_client: int) -> None:
        self._per_user, self._per_client = per_user, per_client
        self._shares: WeakValueDictionary[Owner, Share] = WeakValueDictionary()

    async def acquire(self, owner: Owner) -> Share:
        """Begin a turn; keep the share, and release one of its slots when the turn has ended.

        Raises:
            RateLimited: the owner has the maximum of turns in progress.
        """
        most = self._per_user if owner.kind == "user" else self._per_client
        share = self._shares.setdefault(owner, Share(asyncio.Semaphore(most)))
        await self._acquire(share, most)
        return share

    async def _acquire(self, share: Share, most: int) -> None:
        if not share.slots.locked():
            await share.slots.acquire()
            return
        if share.waiting >= most:
            raise _refusal(most)
        share.waiting += 1
        try:
            async with asyncio.timeout(WAIT_S):
                await share.slots.acquire()
        except TimeoutError as error:
            raise _refusal(most) from error
        finally:
            share.waiting -= 1


def _refusal(most: int) -> RateLimited:
    return RateLimited(
        f"You already have {most} answers in progress: wait for one of them to finish.",
        retry_after_s=_RETRY_AFTER_S,
        quotas=[Quota(name="answers at once", unit=Unit.STREAMS, amount=most)],
    )
