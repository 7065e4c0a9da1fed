"""Limits concurrent model calls: turns first, memory updates in spare slots."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from chatbot.adapters.llm.resilience import Wrapped
from chatbot.domain.errors import ModelUnavailable
from chatbot.domain.ports.model import ChatModel, Completion, ModelRequest, Task

_RETRY_AFTER_S = 2.0
_BUSY = "The language model is busy: all its call slots are in use. Try again."


class WithSlots(Wrapped):
    """At most `max_concurrent` calls at once.

    Turns wait in order of arrival, for at most `wait_s`, then raise `ModelUnavailable`. Memory
    calls use spare slots: at most a quarter of all, at least one, and only while no turn waits. A
    turn that finds no free slot cancels the newest memory call, which restarts in a spare slot.

    Must be the outermost wrapper: waiting does not count towards the time-outs of the call.
    """

    def __init__(self, model: ChatModel, *, max_concurrent: int, wait_s: float) -> None:
        super().__init__(model)
        self._wait_s = wait_s
        self._slots = asyncio.Semaphore(max_concurrent)
        self._for_memory = asyncio.Semaphore(max(1, max_concurrent // 4))
        self._released = asyncio.Event()
        self._memory_calls: list[asyncio.Task[Completion]] = []

    async def complete(self, request: ModelRequest) -> Completion:
        if request.task is not Task.CHAT:
            async with self._for_memory:
                return await self._complete_in_spare_slots(request)
        async with self._slot():
            return await self._model.complete(request)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        async with self._slot(), aclosing(self._model.stream(request)) as pieces:
            async for piece in pieces:
                yield piece

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[None]:
        if self._slots.locked() and self._memory_calls:
            self._memory_calls.pop().cancel()
        try:
            await self._acquire_in_time()
            try:
                yield
            finally:
                self._slots.release()
        finally:
            # Also after a cancelled wait: the slot may have been acquired for a moment.
            self._released.set()

    async def _acquire_in_time(self) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise ModelUnavailable(_BUSY, retry_after_s=_RETRY_AFTER_S) from error

    async def _complete_in_spare_slots(self, request: ModelRequest) -> Completion:
        while True:
            await self._acquire_spare_slot()
            call = asyncio.create_task(self._model.complete(request))
            self._memory_calls.append(call)
            try:
                return await call
            except asyncio.CancelledError:
                if (own := asyncio.current_task()) is None or own.cancelling():
                    raise  # the caller was cancelled, not only the call
            finally:
                if call in self._memory_calls:
                    self._memory_calls.remove(call)
                self._slots.release()
                self._released.set()

    async def _acquire_spare_slot(self) -> None:
        while self._slots.locked():
            self._released.clear()
            await self._released.wait()
        await self._slots.acquire()
