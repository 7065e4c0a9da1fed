"""Interrupts running turns whose key ends, or whose user is disabled, changed or logged out."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chatbot.application.turn import Turn
from chatbot.domain.authorization import on_behalf_of
from chatbot.domain.chat import InterruptReason, TurnId
from chatbot.domain.errors import StorageFailure, cause_of
from chatbot.domain.identity import KeyId, Principal
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction

CHECK_EVERY_S = 2.0
"""Turns end within 5 s of a revocation: this interval, the read from the store, and a margin."""
_AT_ONCE = 32
"""How many are looked up together, as a compromise between blocking the event loop and waiting for
each.
"""
logger = logging.getLogger("chatbot.chat")

_Watched = tuple[Turn, Principal]


class SignIns:
    """Checks the keys, sign-ins and users of all running turns, every two seconds.

    While the store cannot be read, the turns continue.
    """

    def __init__(
        self, storage: Storage, clock: Clock, *, check_every_s: float = CHECK_EVERY_S
    ) -> None:
        self._storage, self._clock, self._check_every_s = storage, clock, check_every_s
        self._watched: dict[TurnId, _Watched] = {}
        self._checking: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, turn: Turn, caller: Principal) -> Iterator[None]:
        """Interrupt the turn when its caller's key or sign-in ends.

        Also when its user is disabled, expires, is removed, gets other roles or a new password, or
        may no longer chat because a role was changed.
        """
        if caller.user is None and caller.client.key_id is None:
            yield
            return
        self._watched[turn.id] = turn, caller
        if self._checking is None:
            self._checking = asyncio.create_task(self._check_until_none_runs())
        try:
            yield
        finally:
            del self._watched[turn.id]

    def close(self) -> None:
        """Stop checking."""
        if self._checking is not None:
            self._checking.cancel()

    async def _check_until_none_runs(self) -> None:
        try:
            await asyncio.sleep(self._check_every_s)
            while self._watched:
                await self._check()
                await asyncio.sleep(self._check_every_s)
        finally:
            self._checking = None

    async def _check(self) -> None:
        watched = list(self._watched.values())
        try:
            for first in range(0, len(watched), _AT_ONCE):
                await self._check_some(watched[first : first + _AT_ONCE])
        except StorageFailure as error:
            logger.warning(
                "the sign-ins of running turns could not be checked: %s", cause_of(error)
            )

    async def _check_some(self, watched: Sequence[_Watched]) -> None:
        live = await self._live_keys({caller.client.key_id for _, caller in watched})
        signed_in = await asyncio.gather(*(self._is_signed_in(caller) for _, caller in watched))
        for (turn, caller), is_signed_in in zip(watched, signed_in, strict=True):
            if not (is_signed_in and caller.client.key_id in live):
                turn.interrupt(InterruptReason.REVOKED)

    async def _live_keys(self, ids: set[KeyId | None]) -> set[KeyId | None]:
        """Return those of the keys that can be used; the key of the settings, None, always can."""
        now, stored = self._clock(), [key_id for key_id in ids if key_id is not None]

        def work(tx: Transaction) -> set[KeyId]:
            return {key.id for key in map(tx.api_keys.by_id, stored) if key and key.is_live(now)}

        return {None, *(await self._storage.transact(work) if stored else ())}

    async def _is_signed_in(self, caller: Principal) -> bool:
        """Whether the user's sign-in is unchanged, and still allows chatting.

        A call without a user needs none.
        """
        if caller.user is None:
            return True
        stored = await self._storage.find_caller(caller.user.id, caller.sign_in)
        if stored.user is None or not (stored.is_signed_in or caller.sign_in is None):
            return False
        may_chat = Permission.CHAT in on_behalf_of(stored.user, stored.roles, caller).permissions
        return may_chat and caller.user.is_still(stored.user, now=self._clock())
