"""Counts the tokens of every call to the model, for the user or client who pays for it.

Who pays, and the meter, are part of the context in which the model is called. Tasks that a turn starts,
as for memory, inherit who pays.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from typing import Protocol

from chatbot.application.tokens import TokenEstimator
from chatbot.domain.errors import ModelUnavailable
from chatbot.domain.ports.model import ChatModel, Completion, ModelRequest, Usage
from chatbot.domain.usage import Payer


class RequestMeter(Protocol):
    """What a metered model reports to."""

    async def before(self, tokens: int) -> None:
        """Called before a request that is estimated to use so many tokens.

        Raises:
            BudgetExhausted: it is not to be made.
        """

    def add(self, usage: Usage) -> None:
        """Count a request."""


_payer: ContextVar[Payer | None] = ContextVar("payer", default=None)
_meter: ContextVar[RequestMeter | None] = ContextVar("meter", default=None)


def current_payer() -> Payer | None:
    """Return who pays for what is done in this context; None if nobody does."""
    return _payer.get()


@contextmanager
def paying(payer: Payer) -> Iterator[None]:
    """Have this payer pay for what is done in the block, and in tasks that it starts."""
    token = _payer.set(payer)
    try:
        yield
    finally:
        _payer.reset(token)


@contextmanager
def metered_by(meter: RequestMeter) -> Iterator[None]:
    """Have this meter count the calls to the model in the block."""
    token = _meter.set(meter)
    try:
        yield
    finally:
        _meter.reset(token)


class MeteredModel(ChatModel):
    """Passes calls on to another model, and reports their tokens to the meter of the context.

    A call that fails or is cut off has used its prompt, and what had arrived of the answer; one that
    did not reach the provider has used nothing.
    """

    def __init__(self, model: ChatModel, estimator: TokenEstimator) -> None:
        self._model, self._estimator = model, estimator
        self.name = model.name

    @property
    def adapted(self) -> str:
        return self._model.adapted

    async def complete(self, request: ModelRequest) -> Completion:
        meter = await self._begin(request)
        if meter is None:
            return await self._model.complete(request)
        with self._counting_failures(meter, request, []):
            completion = await self._model.complete(request)
        meter.add(self._estimator.usage(request, completion))
        return completion

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        meter = await self._begin(request)
        async with aclosing(self._model.stream(request)) as pieces:
            if meter is None:
                async for piece in pieces:
                    yield piece
                return
            received: list[str] = []
            with self._counting_failures(meter, request, received):
                async for piece in pieces:
                    if isinstance(piece, Completion):
                        break
                    received.append(piece)
                    yield piece
            if isinstance(piece, Completion):  # now: a reader may close this at any piece
                meter.add(self._estimator.usage(request, piece))
                yield piece

    async def warm_up(self) -> None:
        await self._model.warm_up()

    async def aclose(self) -> None:
        await self._model.aclose()

    async def _begin(self, request: ModelRequest) -> RequestMeter | None:
        meter = _meter.get()
        if meter is not None:
            tokens = self._estimator.tokens(*request.texts)
            await meter.before(tokens + request.max_output_tokens)
        return meter

    @contextmanager
    def _counting_failures(
        self, meter: RequestMeter, request: ModelRequest, received: list[str]
    ) -> Iterator[None]:
        try:
            yield
        except ModelUnavailable:
            if received:
                meter.add(self._estimated(request, received))
            raise
        except BaseException:
            meter.add(self._estimated(request, received))
            raise

    def _estimated(self, request: ModelRequest, received: list[str]) -> Usage:
        return Usage(
            input_tokens=self._estimator.tokens(*request.texts),
            output_tokens=self._estimator.tokens(*received),
            estimated=True,
        )
