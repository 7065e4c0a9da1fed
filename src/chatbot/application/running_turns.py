"""The turns in progress in this process, each in its own task.

A disconnecting reader, a shutdown and a revoked sign-in interrupt the model call, never a turn's
writes.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial

from chatbot.application.shares import Share, Shares
from chatbot.application.sign_ins import SignIns
from chatbot.application.turn import ReplyEvent, Turn
from chatbot.domain.chat import InterruptReason
from chatbot.domain.errors import ShuttingDown, cause_of
from chatbot.domain.identity import Principal
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.storage import Storage

logger = logging.getLogger("chatbot.chat")


class RunningTurns:
    """Runs turns until it is closed.

    Args:
        shares: limits the concurrent turns of each owner, so that none can take all of the model's
            slots.
    """

    def __init__(self, storage: Storage, clock: Clock, *, shares: Shares) -> None:
        self._shares = shares
        self._sign_ins = SignIns(storage, clock)
        self._turns: dict[asyncio.Task[None], Turn] = {}
        self._ended_at = float("-inf")
        self._closing = False

    @property
    def is_answering(self) -> bool:
        """Whether a turn is running or has ended within the last second. Callable from any thread."""
        return bool(self._turns) or time.monotonic() - self._ended_at < 1

    @property
    def count(self) -> int:
        """The number of turns in progress."""
        return len(self._turns)

    @property
    def is_closing(self) -> bool:
        """Whether new turns are rejected."""
        return self._closing

    async def run(
        self, turn: Turn, caller: Principal, work: Callable[[Turn], Awaitable[None]]
    ) -> AsyncGenerator[ReplyEvent]:
        """Run the work of a turn and yield its events.

        Closing the generator early interrupts the turn and waits until it is stored.

        Raises:
            RateLimited: the owner has too many turns in progress.
            ShuttingDown, and what the work raises.
        """
        share = await self._shares.acquire(turn.owner)
        if self._closing:  # possibly while the turn waited for its share
            share.slots.release()
            raise ShuttingDown
        task = asyncio.create_task(self._run(turn, caller, work))
        self._turns[task] = turn
        task.add_done_callback(partial(self._ended, share))
        is_read_to_its_end = False
        try:
            async with aclosing(turn.events()) as events:
                async for event in events:
                    yield event
            is_read_to_its_end = True
            await task
        finally:
            if not is_read_to_its_end:
                turn.interrupt(InterruptReason.CLIENT)
                task.add_done_callback(partial(_log_failure, turn))
                await asyncio.wait({task})

    async def aclose(self) -> None:
        """Reject new turns, interrupt the running ones, and wait until they are stored."""
        self._closing = True
        running = dict(self._turns)
        for turn in running.values():
            turn.interrupt(InterruptReason.SHUTDOWN)
        if running:
            await asyncio.wait(running)
        self._sign_ins.close()

    async def _run(
        self, turn: Turn, caller: Principal, work: Callable[[Turn], Awaitable[None]]
    ) -> None:
        try:
            with self._sign_ins.watching(turn, caller):
                await work(turn)
        finally:
            turn.end()

    def _ended(self, share: Share, task: asyncio.Task[None]) -> None:
        self._ended_at = time.monotonic()
        del self._turns[task]
        share.slots.release()


def _log_failure(turn: Turn, task: asyncio.Task[None]) -> None:
    """Log a failure whose reader has disconnected."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, ShuttingDown):
        logger.warning(
            "a turn failed after its client disconnected: %s",
            type(error).__name__,
            extra={"session_id": turn.session_id, "cause": cause_of(error)},
        )
