"""Wrappers around a model, each a model itself.

From the outside in: `WithSlots(WithTimeouts(WithRetries(model)))`. The turn limit counts retries,
not the wait for a free slot (`slots.py`).
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from chatbot.domain.errors import ModelTimeout, ModelUnavailable
from chatbot.domain.ports.model import ChatModel, Completion, ModelRequest

BACKOFF_S = 0.2
LONGEST_RETRY_AFTER_S = 2.0


class Wrapped(ChatModel):
    """Base of the wrappers: delegates name, warm-up and closing."""

    def __init__(self, model: ChatModel) -> None:
        self.name = model.name
        self._model = model

    async def warm_up(self) -> None:
        await self._model.warm_up()

    async def aclose(self) -> None:
        await self._model.aclose()


class Backoff:
    """Waits before retries: exponentially with jitter, or for the provider's `Retry-After`.

    Args:
        random: returns numbers in [0, 1).
        on_retry: called before each retry.
    """

    def __init__(
        self,
        *,
        attempts: int = 3,
        sleep: Callable[[float], Awaitable[None]],
        random: Callable[[], float],
        on_retry: Callable[[], None] = lambda: None,
    ) -> None:
        self._attempts = attempts
        self._sleep = sleep
        self._random = random
        self._on_retry = on_retry

    async def wait_or_raise(self, error: ModelUnavailable, attempt: int) -> None:
        """Wait after an attempt, the first of which is 1.

        Raises:
            ModelUnavailable: the error, if it was the last attempt, or the provider asks for a wait
                of more than 2 s.
        """
        asked_s = error.retry_after_s or 0.0
        if attempt >= self._attempts or asked_s > LONGEST_RETRY_AFTER_S:
            raise error
        backoff_s = BACKOFF_S * 2 ** (attempt - 1) * (0.5 + self._random())
        await self._sleep(max(asked_s, backoff_s))
        self._on_retry()


class WithRetries(Wrapped):
    """Retries when the model was unavailable and no text has been yielded yet."""

    def __init__(self, model: ChatModel, backoff: Backoff) -> None:
        super().__init__(model)
        self._backoff = backoff

    async def complete(self, request: ModelRequest) -> Completion:
        attempt = 1
        while True:
            try:
                return await self._model.complete(request)
            except ModelUnavailable as error:
                await self._backoff.wait_or_raise(error, attempt)
            attempt += 1

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        attempt = 1
        while True:
            started = False
            try:
                async with aclosing(self._model.stream(request)) as pieces:
                    async for piece in pieces:
                        started = started or piece != ""
                        yield piece
            except ModelUnavailable as error:
                if started:
                    raise
                await self._backoff.wait_or_raise(error, attempt)
            else:
                return
            attempt += 1


class WithTimeouts(Wrapped):
    """Limits the whole call and, for a stream, the waits for the first and each further piece.

    Only waiting for the model counts towards these two, not the time that the caller takes. A sign
    of life restarts the wait and is not yielded. Times are those of the event loop's clock.
    """

    def __init__(
        self, model: ChatModel, *, first_token_s: float, idle_s: float, turn_s: float
    ) -> None:
        super().__init__(model)
        self._first_token_s = first_token_s
        self._idle_s = idle_s
        self._turn_s = turn_s

    async def complete(self, request: ModelRequest) -> Completion:
        try:
            async with asyncio.timeout(self._turn_s):
                return await self._model.complete(request)
        except TimeoutError as error:
            raise ModelTimeout from error

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        loop = asyncio.get_running_loop()
        turn_ends = loop.time() + self._turn_s
        patience_s = self._first_token_s
        async with aclosing(self._model.stream(request)) as pieces:
            while True:
                # Around each wait and not around the loop: a timeout that is open during a yield
                # would cancel the caller in the middle of its own work.
                try:
                    async with asyncio.timeout_at(min(turn_ends, loop.time() + patience_s)):
                        piece = await anext(pieces)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    raise ModelTimeout from error
                if piece:
                    yield piece
                    patience_s = self._idle_s
