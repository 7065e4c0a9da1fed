"""Model slots: how many calls run at once, the order of waiting, and how a wait ends."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest

from chatbot.adapters.llm.resilience import WithTimeouts
from chatbot.adapters.llm.scripted import Script, ScriptedModel
from chatbot.adapters.llm.slots import WithSlots
from chatbot.domain.chat import MessageRole
from chatbot.domain.errors import ModelUnavailable
from chatbot.domain.ports.model import ChatModel, Completion, ModelRequest, PromptMessage, Task
from conversation import PATIENCE_S, eventually

TURN = ModelRequest(
    task=Task.CHAT,
    system="",
    messages=(PromptMessage(role=MessageRole.USER, text="hello"),),
    max_output_tokens=10,
)
EXTRACTION = replace(TURN, task=Task.EXTRACT_MEMORY)
MODES = ("complete", "stream")


def slots(model: ChatModel, count: int, *, wait_s: float = PATIENCE_S) -> WithSlots:
    return WithSlots(model, max_concurrent=count, wait_s=wait_s)


async def ask(model: ChatModel, mode: str = "complete", request: ModelRequest = TURN) -> str:
    """The text of the answer, streamed or not."""
    if mode == "complete":
        return (await model.complete(request)).text
    async with aclosing(model.stream(request)) as stream:
        return "".join([piece async for piece in stream if isinstance(piece, str)])


class Gated(ScriptedModel):
    """Answers with the name of the task once its gate is open; counts running calls."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun: list[Task] = []
        self.running: list[Task] = []
        self.most = 0
        super().__init__(lambda request: Script(pieces=(request.task.value,), pause=self.gate.wait))

    async def complete(self, request: ModelRequest) -> Completion:
        self._begin(request)
        try:
            return await super().complete(request)
        finally:
            self.running.remove(request.task)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        self._begin(request)
        try:
            async with aclosing(super().stream(request)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self.running.remove(request.task)

    def _begin(self, request: ModelRequest) -> None:
        self.begun.append(request.task)
        self.running.append(request.task)
        self.most = max(self.most, len(self.running))


async def begin(model: ChatModel, inner: Gated, request: ModelRequest) -> asyncio.Task[str]:
    """A call in progress."""
    count = len(inner.begun)
    call = asyncio.create_task(ask(model, request=request))
    await eventually(lambda: len(inner.begun) > count)
    return call


async def a_while() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("mode", MODES)
async def test_no_more_calls_than_the_limit_run_at_once(mode: str) -> None:
    inner = Gated()
    model = slots(inner, 2)
    calls = [asyncio.create_task(ask(model, mode)) for _ in range(7)]
    await a_while()
    inner.gate.set()
    assert await asyncio.gather(*calls) == ["chat"] * 7
    assert (inner.most, inner.running) == (2, [])


@pytest.mark.parametrize("mode", MODES)
async def test_a_slot_is_free_again_after_failure_and_cancelling(mode: str) -> None:
    forever = asyncio.Event()
    model = slots(ScriptedModel([ModelUnavailable("down"), Script(pause=forever.wait), "free"]), 1)
    with pytest.raises(ModelUnavailable, match="down"):
        await ask(model, mode)
    task = asyncio.create_task(ask(model, mode))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.wait_for(ask(model, mode), PATIENCE_S) == "free"


async def test_a_slot_is_free_again_when_a_stream_is_closed_early() -> None:
    model = slots(ScriptedModel(["one two", "three"]), 1)
    stream = model.stream(TURN)
    assert await anext(stream) == "one"
    await stream.aclose()
    assert await asyncio.wait_for(ask(model), PATIENCE_S) == "three"


async def test_a_call_that_is_cancelled_while_it_waits_takes_no_slot() -> None:
    model = slots(ScriptedModel(["one two", "three"]), 1)
    stream = model.stream(TURN)
    await anext(stream)
    waiting = asyncio.create_task(ask(model))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await stream.aclose()
    assert await asyncio.wait_for(ask(model), PATIENCE_S) == "three"


@pytest.mark.parametrize("mode", MODES)
async def test_a_turn_that_waits_too_long_for_a_slot_is_unavailable_and_not_a_timeout(
    mode: str,
) -> None:
    inner = Gated()
    timed = WithTimeouts(inner, first_token_s=9, idle_s=9, turn_s=9)
    model = slots(timed, 1, wait_s=0.01)
    holding = await begin(model, inner, TURN)
    with pytest.raises(ModelUnavailable) as refused:
        await ask(model, mode)
    assert refused.value.retry_after_s
    inner.gate.set()
    assert await holding == "chat"
    assert await ask(model, mode) == "chat"


async def test_the_wait_for_a_slot_is_not_part_of_the_time_of_the_call() -> None:
    inner = Gated()
    model = slots(WithTimeouts(inner, first_token_s=9, idle_s=9, turn_s=0.3), 1)
    first = await begin(model, inner, TURN)
    second = asyncio.create_task(ask(model))
    await asyncio.sleep(0.2)
    inner.gate.set()
    assert await first == "chat"
    assert await second == "chat"


async def test_memory_takes_at_most_a_quarter_of_the_slots() -> None:
    inner = Gated()
    model = slots(inner, 8)
    calls = [asyncio.create_task(ask(model, request=EXTRACTION)) for _ in range(5)]
    await a_while()
    assert inner.running == [Task.EXTRACT_MEMORY] * 2
    inner.gate.set()
    assert await asyncio.gather(*calls) == ["extract_memory"] * 5


async def test_memory_waits_while_a_turn_has_the_last_slot() -> None:
    inner = Gated()
    model = slots(inner, 1)
    turn = await begin(model, inner, TURN)
    memory = asyncio.create_task(ask(model, request=EXTRACTION))
    next_turn = asyncio.create_task(ask(model))
    await a_while()
    assert inner.begun == [Task.CHAT]
    inner.gate.set()
    assert [await call for call in (turn, next_turn, memory)] == ["chat", "chat", "extract_memory"]
    assert inner.begun == [Task.CHAT, Task.CHAT, Task.EXTRACT_MEMORY]


async def test_consolidation_resumes_when_a_waiting_turn_is_cancelled_as_it_gets_its_slot() -> None:
    inner = Gated()
    model = slots(inner, 2)
    turns = [await begin(model, inner, TURN) for _ in range(2)]
    waiting = [asyncio.create_task(ask(model)) for _ in range(2)]
    await a_while()
    memory = asyncio.create_task(ask(model, request=EXTRACTION))
    await a_while()
    for turn in turns:
        turn.cancel()
    await asyncio.sleep(0)  # their slots are handed to those that wait, in the same moment
    for turn in waiting:
        turn.cancel()
    inner.gate.set()
    assert await asyncio.wait_for(memory, PATIENCE_S) == "extract_memory"


async def test_a_turn_without_a_free_slot_cancels_a_memory_call_which_restarts() -> None:
    inner = Gated()
    model = slots(inner, 1)
    memory = await begin(model, inner, EXTRACTION)
    turn = await begin(model, inner, TURN)
    assert inner.running == [Task.CHAT]
    inner.gate.set()
    assert await turn == "chat"
    assert await memory == "extract_memory"
    assert inner.begun == [Task.EXTRACT_MEMORY, Task.CHAT, Task.EXTRACT_MEMORY]


async def test_cancelling_a_wait_for_memory_ends_the_call() -> None:
    inner = Gated()
    model = slots(inner, 1)
    memory = await begin(model, inner, EXTRACTION)
    memory.cancel()
    with pytest.raises(asyncio.CancelledError):
        await memory
    assert inner.running == []
    inner.gate.set()
    assert await ask(model) == "chat"
