"""The limits that this process applies."""

import asyncio
import logging
from collections.abc import Sequence

from chatbot.domain.errors import StorageFailure, cause_of
from chatbot.domain.limits import Limit
from chatbot.domain.ports.storage import Storage

logger = logging.getLogger("chatbot.limits")

KEPT_S = 5.0
"""How long after a change another process may still apply the previous limits."""


class LimitRules:
    """Reads the limits every five seconds.

    While the store cannot be read, the last known limits apply.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._limits: Sequence[Limit] = ()
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def current(self) -> Sequence[Limit]:
        """Return the limits."""
        if asyncio.get_running_loop().time() - self._read_at >= KEPT_S:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)
        return self._limits

    def forget(self) -> None:
        """Read the limits again before the next use."""
        self._read_at = float("-inf")

    async def _read(self) -> None:
        began_at = asyncio.get_running_loop().time()
        try:
            self._limits = await self._storage.transact(lambda tx: tx.limits.all())
        except StorageFailure as error:
            logger.warning("the limits could not be read: %s", cause_of(error))
        self._read_at = began_at
