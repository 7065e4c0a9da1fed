"""Interrupts running turns whose user is disabled or loses the sign-in."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from chatbot.application.turn import Turn
from chatbot.domain.chat import InterruptReason, TurnId
from chatbot.domain.errors import StorageFailure, cause_of
from chatbot.domain.identity import User
from chatbot.domain.ports.storage import Storage

CHECK_EVERY_S = 2.0
"""Turns end within 5 s of a revocation: this interval, the read from the store, and a margin."""
logger = logging.getLogger("chatbot.chat")


class SignIns:
    """Checks the users of all running turns in one transaction, every two seconds.

    While the store cannot be read, the turns continue.
    """

    def __init__(self, storage: Storage, *, check_every_s: float = CHECK_EVERY_S) -> None:
        self._storage, self._check_every_s = storage, check_every_s
        self._watched: dict[TurnId, tuple[Turn, User]] = {}
        self._checking: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, turn: Turn, user: User | None) -> Iterator[None]:
        """Interrupt the turn when its user is disabled, removed, or gets new rights or a new password."""
        if user is None:
            yield
            return
        self._watched[turn.id] = turn, user
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
        ids = {user.id for _, user in watched}
        try:
            stored = await self._storage.transact(
                lambda tx: {user_id: tx.users.by_id(user_id) for user_id in ids}
            )
        except StorageFailure as error:
            logger.warning(
                "the sign-ins of running turns could not be checked: %s", cause_of(error)
            )
            return
        for turn, user in watched:
            if not user.is_still(stored[user.id]):
                turn.interrupt(InterruptReason.REVOKED)
