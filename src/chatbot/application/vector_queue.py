"""Embeds new messages in the background, and documents whose vectors were not made in time.

The queue is in this process. What is lost with it lacks its vectors until the session's next turn or
`chatbot reindex`, and is found by its words meanwhile.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from itertools import islice

from chatbot.application.vector_parents import VectorParent, Wanted
from chatbot.application.vector_writer import VectorWriter, Work
from chatbot.domain.errors import ModelFailure, cause_of

logger = logging.getLogger("chatbot.search")

MOST_WAITING = 10_000
_AT_ONCE = 32
_COLLECTS_S = 0.5
"""How long turns are collected, so that their messages go to the model together."""
_LONGEST_PAUSE_S = 60.0


class VectorQueue:
    """Works on sessions and documents, in the order in which they were added."""

    def __init__(
        self,
        writer: VectorWriter,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._writer, self._sleep = writer, sleep
        self._waiting: dict[VectorParent, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._failures, self._at_once = 0, _AT_ONCE

    def add(self, parent: VectorParent) -> None:
        """Embed soon what the parent lacks. If too many wait, the one that waits longest is left."""
        if self._closing:
            return
        self._waiting.setdefault(parent)
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        if self._task is None or self._task.done():
            # Not in the context of the turn that happens to be the first.
            self._task = asyncio.create_task(self._run(), context=Context())

    async def drain(self) -> None:
        """Do now what waits, until the provider fails; what is left is done later, see above."""
        await self._stop()
        while self._waiting and await self._work(self._taken()):
            pass
        self._waiting.clear()

    async def aclose(self) -> None:
        """End at once. What is left is done later, see above."""
        self._closing = True
        await self._stop()
        self._waiting.clear()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        await self._sleep(_COLLECTS_S)
        while self._waiting:
            parents, is_done = self._taken(), False
            try:
                is_done = await self._work(parents)
            finally:
                if not is_done:
                    self._put_back(parents)
            self._failures = 0 if is_done else self._failures + 1
            self._at_once = min(_AT_ONCE, self._at_once * 2) if is_done else self._at_once // 2 or 1
            await self._sleep(min(_LONGEST_PAUSE_S, _COLLECTS_S * 2**self._failures))

    def _put_back(self, parents: Sequence[VectorParent]) -> None:
        """Have the others first: a provider may fail because of one text."""
        for parent in parents:
            self._waiting.setdefault(parent)

    def _taken(self) -> Sequence[VectorParent]:
        """Take the next ones: fewer after each failure, so that those which fail stop no others."""
        parents = list(islice(self._waiting, self._at_once))
        for parent in parents:
            del self._waiting[parent]
        return parents

    async def _work(self, parents: Sequence[VectorParent]) -> bool:
        """Embed what these lack; False if the provider or the store failed."""
        left: Sequence[Work] = [Work(parent=parent) for parent in parents]
        wanted = Wanted(model=self._writer.vectors.model)
        try:
            while left:
                left, _ = await self._writer.step(left, wanted)
        except ModelFailure as error:
            logger.warning("search is by words only, for now: %s", cause_of(error))
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are not to wait
            if len(parents) > 1:  # one odd session must not stop the others
                return all([await self._work([each]) for each in parents])
            logger.warning("a session or document has no vectors: %s", cause_of(error))
        return True
