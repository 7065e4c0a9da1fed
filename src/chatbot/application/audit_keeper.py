"""Background work on the audit: logging the head, recording refusals, and pruning."""

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta

from chatbot.application.audit_queue import AuditQueue
from chatbot.application.audit_trail import AuditTrail
from chatbot.application.refusals import Refusals
from chatbot.domain.errors import AuditUnavailable, StorageFailure, cause_of
from chatbot.domain.ports.runtime import Clock

LOOK_EVERY_S, HEAD_EVERY_S = 20.0, 3600.0

logger = logging.getLogger("chatbot.audit")


class AuditKeeper:
    """Runs for as long as the service, while its store is open.

    Args:
        retention: for how long events are kept; None for ever.
        look_every_s: how often to check whether something is due.
        head_every_s: how often the head is logged and old events are removed.
    """

    def __init__(
        self,
        trail: AuditTrail,
        queue: AuditQueue,
        refusals: Refusals,
        *,
        clock: Clock,
        retention: timedelta | None = None,
        look_every_s: float = LOOK_EVERY_S,
        head_every_s: float = HEAD_EVERY_S,
    ) -> None:
        self._trail, self._queue, self._refusals = trail, queue, refusals
        self._clock, self._retention = clock, retention
        self._look_every_s, self._head_every_s = look_every_s, head_every_s
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the work in the background."""
        self._running = asyncio.create_task(self._run())

    async def aclose(self, *, logs_head: bool = True) -> None:
        """Stop: record the refusals counted so far and, with `logs_head`, log the last head."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running
        await self._refusals.flush()
        await self._queue.aclose()
        if logs_head:
            await self.log_head()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        head_at = loop.time() + self._head_every_s
        while True:
            await asyncio.sleep(self._look_every_s)
            await self._refusals.flush_if_over()
            if loop.time() >= head_at:
                head_at = loop.time() + self._head_every_s
                await self.prune()
                await self.log_head()

    async def prune(self) -> None:
        """Remove the events that are older than the retention."""
        if self._retention is None:
            return
        try:
            count = await self._trail.prune(self._clock() - self._retention)
        except (AuditUnavailable, StorageFailure) as error:
            logger.warning("old audit events could not be pruned: %s", cause_of(error))
        else:
            logger.info("audit: pruned %d events", count)

    async def log_head(self) -> None:
        """Log the head, for `chatbot audit verify --head`, because logs are kept apart from the
        store.
        """
        try:
            head = await self._trail.head()
        except StorageFailure as error:
            logger.warning("the head of the audit could not be read: %s", cause_of(error))
        else:
            logger.info("audit head %s", head)
