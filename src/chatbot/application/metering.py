"""Counts the tokens of every model call, for the user or client that is billed.

The payer and the meter are part of the context in which the model is called. Tasks that a turn
starts, such as those for memory, inherit the payer.
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
    """Receives the reports of a metered model."""

    async def before(self, tokens: int) -> None:
        """Called before a request that is estimated to use this many tokens.

        Raises:
            BudgetExhausted: the request must not be made.
        """

    def add(self, usage: Usage) -> None:
        """Count a request."""


_payer: ContextVar[Payer | None] = ContextVar("payer", default=None)
_meter: ContextVar[RequestMeter | None] = ContextVar("meter", default=None)


def current_payer() -> Payer | None:
    """Return the payer of this context, or None."""
    return _payer.get()


@contextmanager
def paying(payer: Payer) -> Iterator[None]:
    """Make this the payer of the block, and of the tasks that it starts."""
    token = _payer.set(payer)
    try:
        yield
    finally:
        _payer.reset(token)


@contextmanager
def metered_by(meter: RequestMeter) -> Iterator[None]:
    """Count the model calls in the block with this meter."""
    token = _meter.set(meter)
    try:
        yield
    finally:
        _meter.reset(token)


class MeteredModel(ChatModel):
    """Delegates to another model, and reports the tokens to the meter of the context.

    A call that fails or is cut off has used its prompt and the partial answer; one that did not
    reach the provider has used nothing.
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
