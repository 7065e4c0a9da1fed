"""Thinking that a model writes before its answer is not part of the answer."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.adapters.llm.scripted import Script, ScriptedModel
from chatbot.adapters.llm.thinking import WithoutThinking
from chatbot.domain.chat import FinishReason, MessageRole
from chatbot.domain.errors import ModelError
from chatbot.domain.ports.model import Completion, ModelRequest, PromptMessage, Task

REQUEST = ModelRequest(
    task=Task.CHAT,
    system="",
    messages=(PromptMessage(role=MessageRole.USER, text="hello"),),
    max_output_tokens=10,
)
ANSWERS = {
    "hola": "hola",
    "": "",
    "  hola\n": "  hola\n",
    "<think>hm</think>hola": "hola",
    "<think>\n\n</think>\n\nhola  ": "hola  ",
    " \n<think>hm <b> < / </thin </think> hola": "hola",
    "<THINK>hm</Think>hola": "hola",
    "<think>İİİ</think>hola": "hola",
    "<thinking>hm</think></thinking>hola": "hola",
    "<thought>hm</thought>hola": "hola",
    "<reasoning>hm</reasoning>hola": "hola",
    "[THINK]hm[/THINK]hola": "hola",
    "<think>a</think>\n<think>b</think>hola": "hola",
    '<think>hm</think>{"a": "<think>"}': '{"a": "<think>"}',
    "hola <think>hm</think>": "hola <think>hm</think>",
    "<thin": "<thin",
    "<thinker>hola</thinker>": "<thinker>hola</thinker>",
    "<b>hola</b>": "<b>hola</b>",
}
SPENT = ("<think>", "<think>hm", " <think>hm</think>", "<think>hm</think> \n", "<think></thin")


async def streamed(*pieces: str) -> tuple[list[str], Completion]:
    model = WithoutThinking(ScriptedModel([Script(pieces=pieces)]))
    *said, last = [piece async for piece in model.stream(REQUEST)]
    assert isinstance(last, Completion)
    return [piece for piece in said if isinstance(piece, str)], last


@pytest.mark.parametrize("text", ANSWERS)
async def test_thinking_at_the_head_of_an_answer_is_removed(text: str) -> None:
    model = WithoutThinking(ScriptedModel([text]))
    assert (await model.complete(REQUEST)).text == ANSWERS[text]


@given(st.sampled_from([*ANSWERS]), st.sets(st.integers(0, 50)))
async def test_thinking_is_removed_wherever_the_pieces_end(text: str, cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(text)]
    pieces, completion = await streamed(
        *(text[start:end] for start, end in pairwise(edges) if start < end)
    )
    assert "".join(pieces) == completion.text == ANSWERS[text]


@pytest.mark.parametrize("text", SPENT)
async def test_answer_of_thinking_only_names_the_setting(text: str) -> None:
    with pytest.raises(ModelError, match="MODEL_MAX_OUTPUT_TOKENS"):
        await WithoutThinking(ScriptedModel([text])).complete(REQUEST)
    with pytest.raises(ModelError, match="MODEL_MAX_OUTPUT_TOKENS"):
        await streamed(*text)


async def test_answer_that_was_blocked_may_be_nothing_but_thinking() -> None:
    blocked = Completion(text="<think>hm", finish_reason=FinishReason.BLOCKED, usage=None)
    assert (await WithoutThinking(ScriptedModel([blocked])).complete(REQUEST)).text == ""


async def test_thinking_is_a_sign_of_life_and_text_is_not_held_back() -> None:
    pieces, _ = await streamed("<think>", "hm", "hm", "</think>", "ho", "la")
    assert pieces == ["", "", "", "", "ho", "la"]
    pieces, _ = await streamed("ho", "la")
    assert pieces == ["ho", "la"]


async def test_possible_tag_is_held_back_until_it_is_complete() -> None:
    pieces, _ = await streamed("<", "th", "at is", " so")
    assert pieces == ["", "", "<that is", " so"]


async def test_long_thinking_is_not_kept() -> None:
    pieces, completion = await streamed("<think>", *["hm " * 100] * 1000, "</think>hola")
    assert ("".join(pieces), completion.text) == ("hola", "hola")
