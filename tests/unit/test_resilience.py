"""The wrappers around a model: retries, time-outs, and their combination."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

import pytest

from chatbot.adapters.llm.resilience import Backoff, WithRetries, WithTimeouts
from chatbot.adapters.llm.scripted import Answer, Script, ScriptedModel
from chatbot.adapters.llm.slots import WithSlots
from chatbot.domain.chat import FinishReason, MessageRole
from chatbot.domain.errors import ModelError, ModelFailure, ModelTimeout, ModelUnavailable
from chatbot.domain.ports.model import (
    ChatModel,
    Completion,
    ModelRequest,
    PromptMessage,
    Task,
)
from conversation import PATIENCE_S

REQUEST = ModelRequest(
    task=Task.CHAT,
    system="",
    messages=(PromptMessage(role=MessageRole.USER, text="hello"),),
    max_output_tokens=10,
)
MODES = ("complete", "stream")
DOWN = ModelUnavailable("down")


async def ask(model: ChatModel, mode: str, pieces: list[str] | None = None) -> str:
    """The text of the answer, streamed or not."""
    if mode == "complete":
        return (await model.complete(REQUEST)).text
    async with aclosing(model.stream(REQUEST)) as stream:
        async for piece in stream:
            if isinstance(piece, Completion):
                return piece.text
            if pieces is not None:
                pieces.append(piece)
    raise AssertionError("The generator ended without its completion.")


class Watched(ScriptedModel):
    """Counts the calls in progress."""

    running = 0
    most = 0

    async def complete(self, request: ModelRequest) -> Completion:
        self._begin()
        try:
            return await super().complete(request)
        finally:
            self.running -= 1

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        self._begin()
        try:
            async with aclosing(super().stream(request)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self.running -= 1

    def _begin(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)


def silent(*pieces: str) -> Callable[[ModelRequest], Answer]:
    """Streams the pieces, then stays silent."""
    forever = asyncio.Event()
    return lambda _: Script(pieces=pieces, pause=forever.wait)


# -- retries ------------------------------------------------------------------------------------


def retrying(answers: Iterable[Answer]) -> tuple[ChatModel, ScriptedModel, list[float]]:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    inner = ScriptedModel(answers)
    model = WithRetries(inner, Backoff(sleep=sleep, random=lambda: 0.5))
    return model, inner, waits


@pytest.mark.parametrize("mode", MODES)
async def test_an_unavailable_model_is_asked_again_after_a_wait_that_doubles(mode: str) -> None:
    model, _, waits = retrying([DOWN, DOWN, "here I am"])
    assert await ask(model, mode) == "here I am"
    assert waits == [0.2, 0.4]


async def test_retry_waits_are_jittered() -> None:
    for random, wait_s in ((0.0, 0.1), (0.999, 0.2998)):
        waits: list[float] = []

        async def sleep(seconds: float, waits: list[float] = waits) -> None:
            waits.append(seconds)

        inner = ScriptedModel([DOWN, "yes"])
        backoff = Backoff(sleep=sleep, random=lambda r=random: r)  # type: ignore[misc]  # mypy sees no default
        await WithRetries(inner, backoff).complete(REQUEST)
        assert waits == pytest.approx([wait_s])


@pytest.mark.parametrize("mode", MODES)
async def test_after_the_last_attempt_the_failure_is_passed_on(mode: str) -> None:
    model, inner, waits = retrying([DOWN, DOWN, DOWN, "too late"])
    with pytest.raises(ModelUnavailable):
        await ask(model, mode)
    assert len(inner.requests) == 3
    assert len(waits) == 2


@pytest.mark.parametrize("mode", MODES)
async def test_a_short_retry_after_is_waited_for(mode: str) -> None:
    model, _, waits = retrying([ModelUnavailable("busy", retry_after_s=2.0), "yes"])
    assert await ask(model, mode) == "yes"
    assert waits == [2.0]


@pytest.mark.parametrize("mode", MODES)
async def test_a_long_retry_after_is_passed_on_at_once(mode: str) -> None:
    model, inner, waits = retrying([ModelUnavailable("busy", retry_after_s=2.1), "yes"])
    with pytest.raises(ModelUnavailable) as caught:
        await ask(model, mode)
    assert caught.value.retry_after_s == 2.1
    assert (len(inner.requests), waits) == (1, [])


@pytest.mark.parametrize("failure", [ModelError("no"), ModelTimeout("slow")])
@pytest.mark.parametrize("mode", MODES)
async def test_other_failures_are_not_tried_again(mode: str, failure: ModelFailure) -> None:
    model, inner, _ = retrying([failure, "yes"])
    with pytest.raises(type(failure)):
        await ask(model, mode)
    assert len(inner.requests) == 1


async def test_no_retry_once_a_delta_was_delivered() -> None:
    model, inner, _ = retrying([Script(pieces=("once",), failure=DOWN), "once again"])
    pieces: list[str] = []
    with pytest.raises(ModelUnavailable):
        await ask(model, "stream", pieces)
    assert (pieces, len(inner.requests)) == (["once"], 1)


# -- time-outs ----------------------------------------------------------------------------------


def timed(
    model: ChatModel, *, first_token_s: float = 5, idle_s: float = 5, turn_s: float = 5
) -> ChatModel:
    return WithTimeouts(model, first_token_s=first_token_s, idle_s=idle_s, turn_s=turn_s)


@pytest.mark.parametrize(
    ("pieces", "limits"),
    [
        ((), {"first_token_s": 0.01}),
        (("a", "b"), {"idle_s": 0.01}),
        ((), {"turn_s": 0.01}),
        (("a", "b"), {"turn_s": 0.01}),
    ],
)
async def test_each_limit_of_a_stream_is_a_timeout_after_what_arrived(
    pieces: tuple[str, ...], limits: dict[str, float]
) -> None:
    inner = Watched(silent(*pieces))
    got: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ModelTimeout):
            await ask(timed(inner, **limits), "stream", got)
    assert tuple(got) == pieces
    assert inner.running == 0


async def test_only_the_turn_limit_holds_for_an_answer_in_one_piece() -> None:
    async def shortly() -> None:
        await asyncio.sleep(0.02)

    inner = ScriptedModel([Script(pieces=("x",), pause=shortly)])
    assert await ask(timed(inner, first_token_s=0.001, idle_s=0.001), "complete") == "x"
    with pytest.raises(ModelTimeout):
        await ask(timed(Watched(silent()), turn_s=0.01), "complete")


async def test_a_slow_reader_does_not_count_as_an_idle_model() -> None:
    model = timed(ScriptedModel(["one two three"]), idle_s=0.01)
    read = []
    async for piece in model.stream(REQUEST):
        await asyncio.sleep(0.02)
        read.append(piece)
    assert read[:3] == ["one", " two", " three"]


async def alive_for(pause_s: float, signs: int) -> AsyncGenerator[str | Completion]:
    for _ in range(signs):
        await asyncio.sleep(pause_s)
        yield ""
    yield "hello"
    yield Completion(text="hello", finish_reason=FinishReason.STOP, usage=None)


class Alive(ScriptedModel):
    """Shows signs of life before it answers."""

    def __init__(self, pause_s: float, signs: int) -> None:
        super().__init__([])
        self._pause_s, self._signs = pause_s, signs

    def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        return alive_for(self._pause_s, self._signs)


async def test_signs_of_life_restart_the_idle_timeout_and_are_not_yielded() -> None:
    model = WithTimeouts(Alive(0.05, 12), first_token_s=0.4, idle_s=0.4, turn_s=PATIENCE_S)
    pieces: list[str] = []
    assert await ask(model, "stream", pieces) == "hello"
    assert pieces == ["hello"]


async def test_turn_timeout_applies_to_a_responding_model() -> None:
    model = WithTimeouts(Alive(0.02, 10_000), first_token_s=5, idle_s=5, turn_s=0.2)
    with pytest.raises(ModelTimeout):
        await ask(model, "stream")


async def test_failure_after_a_sign_of_life_is_retried() -> None:
    model, inner, _ = retrying([Script(pieces=("", ""), failure=DOWN), "hello"])
    assert await ask(model, "stream") == "hello"
    assert len(inner.requests) == 2


@pytest.mark.parametrize("mode", MODES)
async def test_the_turn_limit_counts_retries(mode: str) -> None:
    backoff = Backoff(attempts=99, sleep=asyncio.sleep, random=lambda: 0.0)
    down = WithRetries(ScriptedModel(lambda _: DOWN), backoff)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ModelTimeout):
            await ask(timed(down, turn_s=0.02), mode)


# -- all together -------------------------------------------------------------------------------


def stacked(inner: ChatModel) -> ChatModel:
    retried = WithRetries(inner, Backoff(sleep=asyncio.sleep, random=lambda: 0.0))
    return WithSlots(timed(retried), max_concurrent=1, wait_s=PATIENCE_S)


async def test_closing_the_outermost_stream_ends_the_innermost_at_once() -> None:
    inner = Watched(silent("first"))
    stream = stacked(inner).stream(REQUEST)
    assert await anext(stream) == "first"
    assert inner.running == 1
    await stream.aclose()
    assert inner.running == 0


@pytest.mark.parametrize("mode", MODES)
async def test_cancelling_the_outermost_call_ends_the_innermost(mode: str) -> None:
    inner = Watched(silent())
    task = asyncio.create_task(ask(stacked(inner), mode))
    await asyncio.sleep(0.01)
    assert inner.running == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert inner.running == 0


async def test_wrapped_model_has_the_name_and_the_lifetime_of_the_inner_model() -> None:
    inner = ScriptedModel([], name="openai/gpt-x")
    model = stacked(inner)
    assert model.name == "openai/gpt-x"
    await model.warm_up()
    await model.aclose()
    assert inner.closed
