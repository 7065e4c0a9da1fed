"""Answers as real providers give them, over both transports: odd, but answers; or odd, and none.

Each is said byte by byte by the fake provider. `whole` is what it says to a request that does not
stream, `events` to one that does.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader

from chatbot.adapters.llm import aiohttp_transport, answers, provider_http, sdk_transport
from chatbot.adapters.llm.genkit_model import GenkitChatModel
from chatbot.adapters.llm.provider import ChatGenkit, TransportName, build_genkit
from chatbot.adapters.llm.quirks import Quirks
from chatbot.adapters.llm.resilience import WithTimeouts
from chatbot.adapters.llm.sdk_transport import SdkTransport
from chatbot.adapters.llm.thinking import WithoutThinking
from chatbot.domain.chat import FinishReason
from chatbot.domain.errors import (
    ContextTooLong,
    ModelError,
    ModelFailure,
    ModelUnavailable,
    PromptRefused,
)
from chatbot.domain.ports.model import Completion, Task, Usage
from conversation import PATIENCE_S
from model_calls import MODES, TRANSPORTS, answer, ask, build, collect
from provider import SECRET, FakeProvider, Raw

pytestmark = pytest.mark.asyncio(loop_scope="module")

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
DONE = b"data: [DONE]\n\n"
STOP, LENGTH, BLOCKED = FinishReason.STOP, FinishReason.LENGTH, FinishReason.BLOCKED


def event(document: object) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


def delta(reason: object = None, **fields: object) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": reason}]})


def events(*pieces: bytes | float, **raw: Any) -> Raw:
    return Raw(pieces=pieces, **raw)


def whole(reason: object = "stop", usage: object = USAGE, **message: object) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


def document(data: bytes, **raw: Any) -> Raw:
    raw = {"content_type": "application/json", "content_length": len(data), **raw}
    return Raw(pieces=[data], **raw)


def refusal(status: int, **error: object) -> Raw:
    return document(json.dumps({"error": {"message": SECRET, **error}}).encode(), status=status)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def genkits(provider: FakeProvider) -> AsyncIterator[dict[str, ChatGenkit]]:
    genkits: dict[str, ChatGenkit] = {
        transport: build(transport, provider.base_url) for transport in TRANSPORTS
    }
    yield genkits
    for ai in genkits.values():
        await ai.aclose()


@pytest.fixture(params=TRANSPORTS)
def model(request: pytest.FixtureRequest, genkits: dict[str, ChatGenkit]) -> GenkitChatModel:
    return GenkitChatModel(genkits[request.param], "openai/fake-model")


@pytest.fixture
def only_aiohttp(genkits: dict[str, ChatGenkit]) -> GenkitChatModel:
    return GenkitChatModel(genkits["aiohttp"], "openai/fake-model")


@contextmanager
def saying(provider: FakeProvider, *, whole: Raw | None = None, stream: Raw | None = None) -> Any:
    provider.raw = lambda body: stream if body.get("stream") else whole
    try:
        yield
    finally:
        provider.raw = lambda _: None


@pytest.fixture(autouse=True)
def _quiet_again(provider: FakeProvider) -> Iterator[None]:
    yield
    provider.raw = lambda _: None


async def said(model: GenkitChatModel, mode: str) -> Completion:
    async with asyncio.timeout(PATIENCE_S):
        return await answer(model, mode)


# -- where the text is -----------------------------------------------------------------------------

CONTENTS: dict[str, object] = {
    "parts": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "ho"},
        {"type": "reference", "reference_ids": [1]},
        {"type": "text", "text": "la"},
    ],
    "output parts": [{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "hola"}],
    "strings": ["ho", "la"],
    "one part": {"type": "text", "text": "hola"},
    "odd parts": [None, 7, {"type": "text", "text": None}, {"text": "hola"}],
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
async def test_content_in_parts_is_joined_to_its_text(
    provider: FakeProvider, model: GenkitChatModel, content: object, mode: str
) -> None:
    stream = events(delta(content=content), delta("stop"), DONE)
    with saying(provider, whole=document(whole(content=content)), stream=stream):
        assert (await said(model, mode)).text == "hola"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("mode", MODES)
async def test_thinking_is_not_part_of_the_answer(
    provider: FakeProvider, model: GenkitChatModel, field: str, mode: str
) -> None:
    stream = events(delta(**{field: "hm"}), delta(content="hola"), delta("stop"), DONE)
    with saying(provider, whole=document(whole(content="hola", **{field: "hm"})), stream=stream):
        assert (await said(model, mode)).text == "hola"


@pytest.mark.parametrize("content", [None, "", "  \n", [], [{"type": "thinking"}]])
@pytest.mark.parametrize("mode", MODES)
async def test_answer_whose_tokens_went_into_thinking_names_the_setting(
    provider: FakeProvider, model: GenkitChatModel, content: object, mode: str
) -> None:
    stream = events(
        delta(reasoning_content="hm"), delta(content=content), delta("length"), event({}), DONE
    )
    spent = document(whole("length", content=content, reasoning_content="hm"))
    with (
        saying(provider, whole=spent, stream=stream),
        pytest.raises(ModelError, match="MODEL_MAX_OUTPUT_TOKENS"),
    ):
        await said(model, mode)


@pytest.mark.parametrize("mode", MODES)
async def test_provider_may_stream_unasked_or_answer_without_streaming(
    provider: FakeProvider, only_aiohttp: GenkitChatModel, mode: str
) -> None:
    stream = events(b": hello\n\n", delta(content="hola"), delta("stop"), DONE)
    with saying(provider, whole=stream, stream=document(whole(content="hola"))):
        assert (await said(only_aiohttp, mode)).text == "hola"


# -- signs of life ---------------------------------------------------------------------------------

THINKING = {
    "reasoning_content": [delta(reasoning_content="hm")],
    "reasoning": [delta(reasoning="hm")],
    "parts": [delta(content=[{"type": "thinking", "thinking": "hm"}])],
    "comments": [b": PROCESSING\n\n"],
    "empty deltas": [delta(role="assistant", content="")],
    "think tags": [delta(content="<think>"), *[delta(content="hm")]],
}


@pytest.mark.parametrize("kind", THINKING)
async def test_thinking_model_counts_as_alive(
    provider: FakeProvider, genkits: dict[str, ChatGenkit], kind: str
) -> None:
    thoughts: list[bytes | float] = []
    for _ in range(10):
        thoughts += [*THINKING[kind], 0.15]
    if kind == "think tags":
        thoughts.append(delta(content="</think>"))
    stream = events(*thoughts, delta(content="hola"), delta("stop"), DONE)
    # The SDK passes over comments, and says nothing of them.
    for transport in TRANSPORTS if kind != "comments" else ("aiohttp",):
        inner = WithoutThinking(GenkitChatModel(genkits[transport], "openai/fake-model"))
        model = WithTimeouts(inner, first_token_s=1, idle_s=1, turn_s=PATIENCE_S)
        with saying(provider, stream=stream):
            pieces, completion = await collect(model, ask())
        assert (pieces, completion.text) == (["hola"], "hola")


# -- how an answer ends ----------------------------------------------------------------------------

REASONS: dict[Any, FinishReason] = {
    "stop": STOP,
    "STOP": STOP,
    "eos_token": STOP,
    "end_turn": STOP,
    "tool_calls": STOP,
    "model_says_so": STOP,
    "two words; and odd": STOP,
    7: STOP,
    "length": LENGTH,
    "max_tokens": LENGTH,
    "MAX_TOKENS": LENGTH,
    "max_output_tokens": LENGTH,
    "token_limit": LENGTH,
    "model_length": LENGTH,
    "output_limit_reached": LENGTH,
    "model_context_window_exceeded": LENGTH,
    "time_limit": LENGTH,
    "end_of_block": STOP,
    "harmony_end": STOP,
    "content_filter": BLOCKED,
    "SAFETY": BLOCKED,
    "RECITATION": BLOCKED,
    "PROHIBITED_CONTENT": BLOCKED,
    "refusal": BLOCKED,
    "guardrail_intervened": BLOCKED,
    "sensitive": BLOCKED,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reason", REASONS)
async def test_every_providers_word_for_the_end_is_understood(
    provider: FakeProvider, model: GenkitChatModel, reason: object, mode: str
) -> None:
    stream = events(delta(content="hola"), delta(reason), DONE)
    with saying(provider, whole=document(whole(reason, content="hola")), stream=stream):
        completion = await said(model, mode)
    assert (completion.text, completion.finish_reason) == ("hola", REASONS[reason])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "reason", [None, "", "null", "error", "network_error", "abort", "rate_limit", "quota"]
)
async def test_answer_that_was_not_finished_is_an_error(
    provider: FakeProvider, model: GenkitChatModel, reason: object, mode: str
) -> None:
    stream = events(delta(content="hola"), delta(reason), DONE)
    with (
        saying(provider, whole=document(whole(reason, content="hola")), stream=stream),
        pytest.raises(ModelError),
    ):
        await said(model, mode)


@pytest.mark.parametrize("mode", MODES)
async def test_unknown_reason_without_text_is_an_error(
    provider: FakeProvider, model: GenkitChatModel, mode: str
) -> None:
    stream = events(delta("model_says_so"), DONE)
    with (
        saying(provider, whole=document(whole("model_says_so", content="")), stream=stream),
        pytest.raises(ModelError),
    ):
        await said(model, mode)


async def test_unknown_reason_is_logged_once_and_only_if_it_is_a_word(
    provider: FakeProvider,
    only_aiohttp: GenkitChatModel,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "_logged_reasons", set[str]())
    with caplog.at_level(logging.WARNING, logger="chatbot.model"):
        for reason in ("because", "because", f"{SECRET} it was said"):
            with saying(provider, whole=document(whole(reason, content="hola"))):
                await only_aiohttp.complete(ask())
    said_so = [record.getMessage() for record in caplog.records]
    assert said_so == [
        "the provider ended an answer with an unknown finish reason: because",
        "the provider ended an answer with an unknown finish reason: str",
    ]


AFTERWARDS: dict[str, tuple[Any, ...]] = {
    "odd usage": (event({"choices": [], "usage": {"prompt_tokens": "n/a"}}), DONE),
    "usage that is no object": (event({"choices": [], "usage": 7}), DONE),
    "null": (b"data: null\n\n", DONE),
    "a list": (b"data: [1]\n\n", DONE),
    "odd choices": (event({"choices": {"a": 1}}), event({"choices": [None]}), DONE),
    "an error": (event({"error": {"message": SECRET, "code": 500}}),),
    "an error of vLLM": (event({"object": "error", "message": SECRET, "code": 400}),),
    "garbage": (b"data: {no json\n\n", DONE),
    "an empty event": (b"data:\n\n", DONE),
    "blanks after [DONE]": (b"data: [DONE]  \n\n \n\n\n",),
    "garbage after [DONE]": (DONE, b"<html>garbage\n\n", event({"error": "x"})),
    "no [DONE]": (),
}


@pytest.mark.parametrize("kind", AFTERWARDS)
async def test_content_after_a_finish_reason_does_not_invalidate_the_answer(
    provider: FakeProvider, model: GenkitChatModel, kind: str
) -> None:
    pieces = (delta(content="hola"), delta("stop"), *AFTERWARDS[kind])
    for stream in (events(*pieces), events(b"".join(pieces)), events(*pieces, hangs_up=True)):
        with saying(provider, stream=stream):
            assert (await said(model, "stream")).text == "hola"


@pytest.mark.parametrize("more", [0, 40], ids=["right", "longer"])
async def test_stream_with_a_wrong_length_is_an_answer_if_it_was_finished(
    provider: FakeProvider, model: GenkitChatModel, more: int
) -> None:
    body = delta(content="hola") + delta("stop") + DONE
    with saying(provider, stream=events(body, content_length=len(body) + more, hangs_up=True)):
        assert (await said(model, "stream")).text == "hola"


@pytest.mark.parametrize("tail", [b"", b" \n", b"\n}", b"garbage"])
@pytest.mark.parametrize("ending", [{"hangs_up": True}, {"hangs": True}], ids=str)
async def test_whole_answer_with_a_wrong_length_is_an_answer_if_it_was_finished(
    provider: FakeProvider, only_aiohttp: GenkitChatModel, tail: bytes, ending: dict[str, bool]
) -> None:
    if tail == b"garbage" and "hangs" in ending:
        pytest.skip("it does not look like an end, and may go on")
    data = whole(content="hola") + tail
    with saying(provider, whole=document(data, content_length=len(data) + 40, **ending)):
        assert (await said(only_aiohttp, "complete")).text == "hola"


async def test_finished_stream_that_stays_open_is_not_awaited(
    provider: FakeProvider, model: GenkitChatModel
) -> None:
    stream = events(delta(content="hola"), delta("stop"), hangs=True)
    timed = WithTimeouts(model, first_token_s=9, idle_s=9, turn_s=9)
    with saying(provider, stream=stream):
        _, completion = await collect(timed, ask())
    assert completion.text == "hola"


async def test_finished_stream_that_never_stops_sending_is_not_awaited(
    provider: FakeProvider, model: GenkitChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp_transport, "AFTER_THE_END_S", 0.3)
    monkeypatch.setattr(sdk_transport, "AFTER_THE_END_S", 0.3)
    endless: list[bytes | float] = [event({"choices": []}), 0.1] * 600
    timed = WithTimeouts(model, first_token_s=9, idle_s=9, turn_s=3)
    with saying(provider, stream=events(delta(content="hola"), delta("stop"), *endless)):
        _, completion = await collect(timed, ask())
    assert completion.text == "hola"


async def test_endless_finish_reason_is_read_quickly() -> None:
    answer = answers.Answer(max_output_tokens=9)
    choice = {"delta": {"content": "hola"}, "finish_reason": "max_" * 50_000}
    answer.feed({"choices": [choice]})
    started = time.process_time()
    assert answer.response().text == "hola"
    assert time.process_time() - started < 1


async def test_text_after_a_finish_reason_belongs_to_the_answer(
    provider: FakeProvider, model: GenkitChatModel
) -> None:
    with saying(provider, stream=events(delta("stop", content="ho"), delta("stop", content="la"))):
        assert (await said(model, "stream")).text == "hola"


@pytest.mark.parametrize("is_finished", [True, False])
async def test_text_that_arrived_before_the_connection_failed_is_read(is_finished: bool) -> None:
    loop = asyncio.get_running_loop()
    content = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    content.feed_data(delta("stop" if is_finished else None, content="hola"))
    content.set_exception(aiohttp.ClientPayloadError("cut"))
    said_so, texts = answers.Answer(), list[str]()
    response = cast("aiohttp.ClientResponse", SimpleNamespace(content=content))
    with pytest.raises(aiohttp.ClientPayloadError):
        await aiohttp_transport._Reading(response, said_so, texts.append).read()
    assert "".join(texts) == "hola"
    assert said_so.is_finished is is_finished


# -- what was counted ------------------------------------------------------------------------------

USAGES: dict[str, tuple[object, Usage | None]] = {
    "right": (USAGE, Usage(input_tokens=11, output_tokens=7)),
    "null": (None, None),
    "a list": ([1], None),
    "words": ({"prompt_tokens": "n/a", "completion_tokens": 7}, Usage(input_tokens=0, output_tokens=7)),
    "negative": ({"prompt_tokens": 11, "completion_tokens": -7}, Usage(input_tokens=11, output_tokens=0)),
    "fractions": ({"prompt_tokens": 11.5, "completion_tokens": 7}, Usage(input_tokens=0, output_tokens=7)),
    "huge": ({"prompt_tokens": 10**30, "completion_tokens": True}, None),
    "by Anthropic's names": ({"input_tokens": 11, "output_tokens": 7}, Usage(input_tokens=11, output_tokens=7)),
    "cached inside": (
        {**USAGE, "prompt_tokens_details": {"cached_tokens": 10}},
        Usage(input_tokens=11, output_tokens=7),
    ),
    "cached outside, by number": (
        {**USAGE, "prompt_tokens_details": {"cached_tokens": 2000}},
        Usage(input_tokens=2011, output_tokens=7),
    ),
    "cached outside, by total": (
        {**USAGE, "total_tokens": 27, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 4},
        Usage(input_tokens=20, output_tokens=7),
    ),
    "cached outside, by Anthropic's names": (
        {"input_tokens": 11, "output_tokens": 7, "cache_read_input_tokens": 5},
        Usage(input_tokens=16, output_tokens=7),
    ),
    "cached inside, and thinking in the total alone": (
        {**USAGE, "total_tokens": 518, "prompt_tokens_details": {"cached_tokens": 10}},
        Usage(input_tokens=11, output_tokens=7),
    ),
    "odd details": ({**USAGE, "prompt_tokens_details": "x"}, Usage(input_tokens=11, output_tokens=7)),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", USAGES)
async def test_counts_are_taken_field_by_field(
    provider: FakeProvider, model: GenkitChatModel, kind: str, mode: str
) -> None:
    counted, expected = USAGES[kind]
    stream = events(
        delta(content="hola"), delta("stop"), event({"choices": [], "usage": counted}), DONE
    )
    with saying(provider, whole=document(whole(usage=counted, content="hola")), stream=stream):
        assert (await said(model, mode)).usage == expected


# -- bounds ----------------------------------------------------------------------------------------

MOST = 77 * answers.MOST_BYTES_PER_TOKEN
"""Of text, as `ask` asks for 77 tokens."""


@pytest.mark.parametrize("letter", ["x", "ñ", "👩"])
@pytest.mark.parametrize("mode", MODES)
async def test_answer_without_end_is_cut_and_its_call_closed(
    provider: FakeProvider, model: GenkitChatModel, letter: str, mode: str
) -> None:
    endless = [delta(content=letter * 100) for _ in range(200)]
    stream = events(*endless, hangs=True)
    text = letter * 100 * 200
    with saying(provider, whole=document(whole(content=text)), stream=stream):
        completion = await said(model, mode)
    assert completion.finish_reason is LENGTH
    assert MOST - 4 < len(completion.text.encode()) <= MOST
    assert text.startswith(completion.text)
    if mode == "stream":
        async with asyncio.timeout(PATIENCE_S):
            await provider.requests[-1].client_left.wait()


async def test_thinking_without_end_is_cut_and_names_the_setting(
    provider: FakeProvider, model: GenkitChatModel
) -> None:
    thoughts = [delta(reasoning_content="x" * 65536)] * 20
    with (
        saying(provider, stream=events(*thoughts, hangs=True)),
        pytest.raises(ModelError, match="MODEL_MAX_OUTPUT_TOKENS"),
    ):
        await said(model, "stream")
    await asyncio.wait_for(provider.requests[-1].client_left.wait(), PATIENCE_S)


@pytest.mark.parametrize("block", [b"data: ", b" ", b": "], ids=["line", "blanks", "comment"])
@pytest.mark.parametrize("mode", MODES)
async def test_endless_bytes_without_an_event_are_an_error(
    provider: FakeProvider, only_aiohttp: GenkitChatModel, block: bytes, mode: str
) -> None:
    endless = Raw(pieces=[block * 10_000] * 200, hangs=True)
    with saying(provider, whole=endless, stream=endless), pytest.raises(ModelError):
        await said(only_aiohttp, mode)
    await asyncio.wait_for(provider.requests[-1].client_left.wait(), PATIENCE_S)


async def test_unterminated_document_is_truncated_and_its_text_returned(
    provider: FakeProvider, only_aiohttp: GenkitChatModel
) -> None:
    start = whole(content="x" * 9000)[:-100]
    endless = Raw(pieces=[start, *[b"x" * 65536] * 20], content_type="application/json", hangs=True)
    with saying(provider, whole=endless):
        completion = await said(only_aiohttp, "complete")
    assert (completion.finish_reason, completion.text) == (LENGTH, "x" * MOST)
    await asyncio.wait_for(provider.requests[-1].client_left.wait(), PATIENCE_S)


# -- bytes -----------------------------------------------------------------------------------------

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 1000])
async def test_byte_order_mark_and_every_line_end_are_read(
    provider: FakeProvider, only_aiohttp: GenkitChatModel, newline: bytes, size: int
) -> None:
    said_so = BOM + delta(content="hola\u2028ñ") + b": x\n\n" + delta("stop") + DONE
    data = said_so.replace(b"\n", newline)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    with saying(provider, stream=events(*pieces, hangs=True)):
        assert (await said(only_aiohttp, "stream")).text == "hola\u2028ñ"
    data = BOM + newline + whole(content="hola")
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    with saying(provider, whole=events(*pieces, content_type="application/json")):
        assert (await said(only_aiohttp, "complete")).text == "hola"


@pytest.mark.parametrize("mode", MODES)
async def test_bytes_that_are_not_utf8_cost_their_character_only(
    provider: FakeProvider, only_aiohttp: GenkitChatModel, mode: str
) -> None:
    stream = events(delta(content="ho?la").replace(b"?", b"\xff"), delta("stop"), DONE)
    data = whole(content="ho?la").replace(b"?", b"\xff")
    with saying(provider, whole=document(data), stream=stream):
        assert (await said(only_aiohttp, mode)).text == "ho\ufffdla"


# -- refusals --------------------------------------------------------------------------------------

REFUSED = {
    "filter": (refusal(400, code="content_filter", param="prompt"), PromptRefused),
    "context": (refusal(400, code="context_length_exceeded", param="messages"), ContextTooLong),
    "inside an answer": (
        document(json.dumps({"error": {"code": "content_filter", "message": "x"}}).encode()),
        PromptRefused,
    ),
    "other": (refusal(400, code="unsupported_value", param="top_k"), ModelError),
    "outage": (refusal(503, code="overloaded"), ModelUnavailable),
    "malformed": (Raw(pieces=[b"\xff" * 1000], status=400), ModelError),
    "endless": (Raw(pieces=[b"x" * 65536] * 8, status=422, hangs=True), ModelError),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", REFUSED)
async def test_refusal_is_logged_with_its_subject_but_never_its_words(
    provider: FakeProvider,
    model: GenkitChatModel,
    kind: str,
    mode: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provider_http, "_REFUSAL_S", 2 * PATIENCE_S)  # the bytes are bounded, too
    raw, failure = REFUSED[kind]
    if kind == "endless" and isinstance(model.ai._transports[0], SdkTransport):
        pytest.skip("the SDK reads an error to its end")
    stream = raw
    if kind == "inside an answer":
        stream = events(event({"error": {"code": "content_filter", "message": "x"}}))
    with saying(provider, whole=raw, stream=stream), pytest.raises(ModelFailure) as caught:
        await said(model, mode)
    error = caught.value
    assert type(error) is failure
    assert SECRET not in f"{error} {error.code} {error.param}"
    if kind in {"filter", "context", "other"}:
        assert error.status == 400
        assert error.code in {"content_filter", "context_length_exceeded", "unsupported_value"}
        assert error.param in {"prompt", "messages", "top_k"}


@pytest.mark.parametrize("code", ["content_filter", "exceed_context_size_error", "overloaded"])
async def test_answer_that_the_provider_cuts_off_is_not_a_refusal_of_its_prompt(
    provider: FakeProvider, model: GenkitChatModel, code: str
) -> None:
    failing = event({"error": {"code": 500, "type": code, "message": SECRET}})
    pieces: list[str] = []
    with (
        saying(provider, stream=events(delta(content="ho"), 0.05, delta(content="la"), failing)),
        pytest.raises(ModelError) as caught,
    ):
        await answer(model, "stream", pieces)
    assert ("".join(pieces), caught.value.code) == ("hola", code)


async def test_no_retry_once_text_was_delivered(
    provider: FakeProvider, model: GenkitChatModel
) -> None:
    failing = event({"error": {"code": 400, "param": "max_tokens", "message": SECRET}})
    before = len(provider.requests)
    with (
        saying(provider, stream=events(delta(content="hola"), failing)),
        pytest.raises(ModelError),
    ):
        await said(model, "stream")
    assert len(provider.requests) == before + 1


def picky(*refused: str) -> Callable[[dict[str, Any]], Raw | None]:
    """A provider that refuses the first of these parameters in a request."""

    def raw(body: dict[str, Any]) -> Raw | None:
        for name in refused:
            if name == "system" and body["messages"][0]["role"] == "system":
                return refusal(400, message="System role not supported")
            if name in body:
                return refusal(400, param=name, code="unsupported_parameter")
        return None

    return raw


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_optional_parameters_that_are_refused_are_left_out_from_then_on(
    provider: FakeProvider,
    transport: TransportName,
    mode: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = GenkitChatModel(
        build(transport, provider.base_url), "openai/fake-model", temperature=0.5
    )
    request = ask(task=Task.EXTRACT_MEMORY)
    provider.raw = picky("temperature", "response_format", "stream_options", "max_tokens", "system")
    before = len(provider.requests)
    with caplog.at_level(logging.WARNING, logger="chatbot.model"):
        for _ in range(2):
            await (model.complete(request) if mode == "complete" else collect(model, request))
    sent = [received.body for received in provider.requests[before:]]
    expected = {"model", "messages", "max_completion_tokens"}
    expected |= {"stream"} if mode == "stream" else set()
    assert sent[-1].keys() == expected
    assert sent[-1] == sent[-2], "the second call knows at once"
    assert len(sent) == (7 if mode == "stream" else 6)
    [record] = caplog.records
    assert "temperature" in record.getMessage()
    assert model.adapted in record.getMessage()
    await model.aclose()


async def test_quirk_found_by_concurrent_calls_is_logged_once_and_shared(
    provider: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    model = GenkitChatModel(
        build("aiohttp", provider.base_url), "openai/fake-model", temperature=0.5
    )
    provider.raw = picky("temperature", "response_format")
    requests = [ask(), ask(task=Task.EXTRACT_MEMORY)] * 4
    with caplog.at_level(logging.WARNING, logger="chatbot.model"):
        await asyncio.gather(*map(model.complete, requests))
    assert len(caplog.records) <= 2, "one for each parameter at most"
    assert model.adapted == "without temperature, without response_format"
    await model.aclose()


async def test_blank_lines_before_an_answer_keep_the_connection_awake(
    provider: FakeProvider, only_aiohttp: GenkitChatModel
) -> None:
    data = whole(content="hola")
    blanks: list[bytes | float] = [b"\n", 0.01]
    awake = Raw(pieces=[*blanks * 20, data], content_type="application/json")
    with saying(provider, whole=awake, stream=awake):
        assert (await said(only_aiohttp, "complete")).text == "hola"
        assert (await said(only_aiohttp, "stream")).text == "hola"


@pytest.mark.parametrize("last", [None, Raw(pieces=[b"<html>Log in</html>"])], ids=["400", "page"])
async def test_ineffective_quirk_is_not_remembered(
    provider: FakeProvider, model: GenkitChatModel, last: Raw | None
) -> None:
    refused = refusal(400, message="temperature, system role, max_tokens")
    is_first = iter([True])
    provider.raw = lambda _: refused if next(is_first, False) else (last or refused)
    with pytest.raises(ModelError):
        await model.complete(ask())
    assert model.adapted == ""


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_provider_that_refuses_streaming_is_asked_without_it(
    provider: FakeProvider, transport: TransportName
) -> None:
    model = GenkitChatModel(build(transport, provider.base_url), "openai/fake-model")
    provider.raw = picky("stream")
    pieces, completion = await collect(model, ask())
    assert [piece for piece in pieces if piece] == ["You said: one two three"]
    assert completion.text == "You said: one two three"
    await model.aclose()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_parameters_set_by_hand_are_sent_so_from_the_first_call(
    provider: FakeProvider, transport: TransportName
) -> None:
    ai = build_genkit(
        transport=transport,
        api_key="k",
        base_url=provider.base_url,
        connect_timeout_s=1,
        turn_timeout_s=5,
        quirks=Quirks(max_tokens_field="max_completion_tokens", system_role="developer"),
    )
    model = GenkitChatModel(ai, "openai/fake-model", reasoning_effort="minimal")
    await model.complete(ask())
    body = provider.requests[-1].body
    assert body["messages"][0] == {"role": "developer", "content": "Be kind."}
    assert (body["max_completion_tokens"], body["reasoning_effort"]) == (77, "minimal")
    assert "max_tokens" not in body
    await model.aclose()
