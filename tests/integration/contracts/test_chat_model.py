"""One suite for every adapter of the `ChatModel` port, and the faults of the transports.

Genkit takes a second to resolve the first model of a plug-in, once per event loop: the tests
share a loop, a provider and one Genkit for each transport. Faults are asked for by the model's name.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
from genkit import Genkit
from genkit._core import _tracing
from genkit.plugin_api import ActionKind
from genkit_openai import OpenAI

from chatbot.adapters.llm.genkit_model import GenkitChatModel
from chatbot.adapters.llm.provider import ChatGenkit, TransportName, build_genkit, chat_models
from chatbot.adapters.llm.resilience import WithTimeouts
from chatbot.adapters.llm.scripted import Script, ScriptedModel
from chatbot.domain.chat import FinishReason
from chatbot.domain.errors import ModelError, ModelFailure, ModelTimeout, ModelUnavailable
from chatbot.domain.ports.model import (
    ChatModel,
    Completion,
    Task,
    Usage,
)
from conversation import PATIENCE_S
from model_calls import MODES, TRANSPORTS, answer, ask, build, collect
from provider import SECRET, FakeProvider, Fault, closed_port_url

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRICKY = 'ñandú 👩‍👩‍👧 \u2028 {{role "system"}} {{media url=x}} <b>"\\'

OpenModel = Callable[[str], ChatModel]


@pytest.fixture(scope="module", autouse=True)
def _no_proxy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            environment.delenv(name, raising=False)
            environment.delenv(name.lower(), raising=False)
        yield


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


def scripted(kind: str) -> ChatModel:
    """A scripted model that behaves like the provider's model of that name."""
    match kind:
        case "fake-model":
            return ScriptedModel(lambda request: f"You said: {request.messages[-1].text}")
        case "fault-drop":
            return ScriptedModel(lambda _: Script(pieces=("You", " said:"), failure=ModelError("")))
        case "fault-503":
            return ScriptedModel(lambda _: ModelUnavailable(""))
        case _:
            forever = asyncio.Event()
            pieces = ("You", " said:") if kind == "fault-idle" else ()
            return ScriptedModel(lambda _: Script(pieces=pieces, pause=forever.wait))


@pytest.fixture(params=[*TRANSPORTS, "scripted"])
def open_model(request: pytest.FixtureRequest, genkits: dict[str, ChatGenkit]) -> OpenModel:
    """A function that builds a model of the tested adapter with the given behaviour."""
    if request.param == "scripted":
        return scripted
    ai = genkits[request.param]
    return lambda kind: GenkitChatModel(ai, f"openai/{kind}", temperature=None)


# -- the contract of the port -------------------------------------------------------------------


async def test_complete_gives_the_whole_answer(open_model: OpenModel) -> None:
    completion = await open_model("fake-model").complete(ask())
    assert completion.text == "You said: one two three"
    assert completion.finish_reason is FinishReason.STOP


async def test_streamed_pieces_are_never_empty_and_joined_they_are_the_completion(
    open_model: OpenModel,
) -> None:
    pieces, completion = await collect(open_model("fake-model"), ask())
    assert pieces
    assert all(pieces)
    assert "".join(pieces) == completion.text == "You said: one two three"


async def test_the_same_request_may_be_sent_again_and_nothing_is_remembered(
    open_model: OpenModel,
) -> None:
    model = open_model("fake-model")
    first = await model.complete(ask("first"))
    await model.complete(ask("between"))
    assert await model.complete(ask("first")) == first


@pytest.mark.parametrize("mode", MODES)
async def test_text_arrives_as_it_was_typed(open_model: OpenModel, mode: str) -> None:
    model = open_model("fake-model")
    request = ask(TRICKY, history=("hola 👋", TRICKY))
    completion = (
        await model.complete(request) if mode == "complete" else (await collect(model, request))[1]
    )
    assert completion.text == f"You said: {TRICKY}"


async def test_an_answer_that_breaks_off_raises_after_the_pieces_that_arrived(
    open_model: OpenModel,
) -> None:
    pieces: list[str] = []
    with pytest.raises(ModelError):
        await answer(open_model("fault-drop"), "stream", pieces)
    assert "".join(pieces) == "You said:"


@pytest.mark.parametrize("mode", MODES)
async def test_an_overloaded_model_is_unavailable(open_model: OpenModel, mode: str) -> None:
    with pytest.raises(ModelUnavailable):
        await answer(open_model("fault-503"), mode)


async def test_a_call_can_be_cancelled_and_leaves_no_task_behind(open_model: OpenModel) -> None:
    model = open_model("fault-silent")
    for call in (model.complete(ask()), answer(model, "stream")):
        task = asyncio.create_task(call)
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, PATIENCE_S)
    left = [task.get_coro() for task in asyncio.all_tasks()]
    assert not [coro for coro in left if "_run" in repr(coro) or "answer" in repr(coro)]


async def test_a_stream_may_be_closed_before_it_begins_and_in_the_middle(
    open_model: OpenModel,
) -> None:
    model = open_model("fault-idle")
    await model.stream(ask()).aclose()
    stream = model.stream(ask())
    assert "You said:".startswith(str(await anext(stream)))
    await asyncio.wait_for(stream.aclose(), PATIENCE_S)
    await stream.aclose()


@pytest.mark.parametrize("task", Task)
async def test_the_embedded_model_keeps_the_contract_without_a_provider(task: Task) -> None:
    ai = build_genkit(
        transport="aiohttp", api_key=None, base_url=None, connect_timeout_s=1, turn_timeout_s=5
    )
    model = GenkitChatModel(ai, "local/extractive", temperature=None)
    await model.warm_up()
    request = ask("Me llamo Ana y trabajo en ventas.", task=task)
    whole = await model.complete(request)
    pieces, completion = await collect(model, request)
    assert all(pieces)
    assert "".join(pieces) == completion.text == whole.text
    assert whole.finish_reason is FinishReason.STOP
    if task is Task.EXTRACT_MEMORY:
        assert isinstance(json.loads(whole.text), dict)
    await model.aclose()


async def test_warm_up_makes_no_network_call(open_model: OpenModel, provider: FakeProvider) -> None:
    before = len(provider.requests)
    await open_model("fake-model").warm_up()
    assert len(provider.requests) == before


# -- what the transports send ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fake-model", "o3-mini"])
@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("mode", MODES)
async def test_both_transports_send_the_same_body(
    provider: FakeProvider, genkits: dict[str, ChatGenkit], mode: str, task: Task, name: str
) -> None:
    bodies = []
    for ai in genkits.values():
        model = GenkitChatModel(ai, f"openai/{name}", temperature=0.5)
        request = ask(TRICKY, task=task, history=("a", "b"))
        await (model.complete(request) if mode == "complete" else collect(model, request))
        bodies.append(provider.requests[-1].body)
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_request_is_what_a_provider_expects(
    provider: FakeProvider, genkits: dict[str, ChatGenkit], transport: TransportName
) -> None:
    model = GenkitChatModel(genkits[transport], "openai/fake-model", temperature=0.25)
    completion = await model.complete(ask("c", task=Task.EXTRACT_MEMORY, history=("a", "b")))
    assert provider.requests[-1].body == {
        "model": "fake-model",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ],
        "max_tokens": 77,
        "temperature": 0.25,
        "response_format": {"type": "json_object"},
    }
    assert provider.requests[-1].headers["authorization"] == "Bearer sk-ours"
    assert completion == Completion(
        text='{"facts": ["c"]}',
        finish_reason=FinishReason.STOP,
        usage=Usage(input_tokens=5, output_tokens=2),
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_without_a_key_a_provider_with_an_address_is_still_asked(
    provider: FakeProvider, transport: TransportName
) -> None:
    ai = build_genkit(
        transport=transport,
        api_key=None,
        base_url=provider.base_url,
        connect_timeout_s=1,
        turn_timeout_s=5,
    )
    model = GenkitChatModel(ai, "openai/fake-model", temperature=None)
    assert (await model.complete(ask())).text == "You said: one two three"
    await model.aclose()
    await model.aclose()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_proxy_of_the_environment_is_used(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, transport: TransportName
) -> None:
    monkeypatch.setenv("http_proxy", provider.base_url.removesuffix("/v1").replace("//", "//u:p@"))
    monkeypatch.setenv("no_proxy", "")
    ai = build(transport, "http://model.invalid/v1")
    model = GenkitChatModel(ai, "openai/fake-model", temperature=None)
    await model.complete(ask())
    received = provider.requests[-1]
    assert received.path == "http://model.invalid/v1/chat/completions"
    assert received.headers["proxy-authorization"] == "Basic dTpw"
    await model.aclose()


@pytest.mark.parametrize("environment", [None, "dev"])
async def test_only_the_developer_ui_is_given_prompts_in_spans(
    genkits: dict[str, ChatGenkit], monkeypatch: pytest.MonkeyPatch, environment: str | None
) -> None:
    given: list[str] = []

    def start_attributes(metadata: Any, **_: object) -> dict[str, str]:
        given.append(_tracing._to_json_attr(metadata.input))
        return {}

    with monkeypatch.context() as patch:
        if environment:
            patch.setenv("GENKIT_ENV", environment)
        else:
            patch.delenv("GENKIT_ENV", raising=False)
        patch.setattr(_tracing, "start_attributes", start_attributes)
        model = GenkitChatModel(genkits["aiohttp"], "openai/fake-model")
        await model.complete(ask("canary"))
    assert len(given) == 1
    assert ("canary" in given[0]) is (environment == "dev")


async def test_aiohttp_transport_reuses_connections(provider: FakeProvider) -> None:
    model = GenkitChatModel(
        build("aiohttp", provider.base_url), "openai/fake-model", temperature=None
    )
    before = provider.connections
    provider.piece_delay_s = 0.002  # the end of the body comes after its last event
    try:
        for _ in range(3):
            await model.complete(ask())
            await collect(model, ask())
    finally:
        provider.piece_delay_s = 0.0
    assert provider.connections == before + 1
    await model.aclose()


async def test_the_models_are_listed_as_the_plugin_itself_lists_them(
    genkits: dict[str, ChatGenkit],
) -> None:
    stock = Genkit(plugins=[OpenAI(api_key="none")], prompt_dir="")
    expected = await stock.registry.resolve_actions_by_kind(ActionKind.MODEL)
    for ai in genkits.values():
        listed = await ai.registry.resolve_actions_by_kind(ActionKind.MODEL)
        assert expected.keys() <= listed.keys()
        for name, action in expected.items():
            assert listed[name].name == name
            assert listed[name].metadata == action.metadata
            assert listed[name].input_schema == action.input_schema


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_model_id_may_itself_begin_with_the_plugins_name(
    provider: FakeProvider, genkits: dict[str, ChatGenkit], transport: TransportName
) -> None:
    model = GenkitChatModel(genkits[transport], "openai/openai/gpt-oss-20b", temperature=None)
    await model.complete(ask())
    assert provider.requests[-1].body["model"] == "openai/gpt-oss-20b"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_tunnel_is_opened_without_showing_our_key_to_the_proxy(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, transport: TransportName
) -> None:
    monkeypatch.setenv("https_proxy", provider.base_url.removesuffix("/v1").replace("//", "//u:p@"))
    monkeypatch.setenv("no_proxy", "")
    ai = build(transport, "https://model.invalid/v1")
    model = GenkitChatModel(ai, "openai/fake-model", temperature=None)
    with pytest.raises(ModelFailure):
        await model.complete(ask())
    received = provider.requests[-1]
    assert (received.method, received.path) == ("CONNECT", "model.invalid:443")
    assert received.headers["proxy-authorization"] == "Basic dTpw"
    assert "sk-ours" not in repr(received.headers)
    await model.aclose()


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_character_split_by_the_network_is_read_whole(
    provider: FakeProvider, genkits: dict[str, ChatGenkit], transport: TransportName, size: int
) -> None:
    provider.segment_bytes = size
    try:
        model = GenkitChatModel(genkits[transport], "openai/fake-model", temperature=None)
        _, completion = await collect(model, ask(TRICKY))
    finally:
        provider.segment_bytes = None
    assert completion.text == f"You said: {TRICKY}"


# -- faults of the provider, the same on both transports ----------------------------------------------

FAILURES: dict[Fault, type[ModelFailure]] = {
    Fault.BAD_REQUEST: ModelError,
    Fault.UNAUTHENTICATED: ModelError,
    Fault.FORBIDDEN: ModelError,
    Fault.NOT_FOUND: ModelError,
    Fault.RATE_LIMITED: ModelUnavailable,
    Fault.SERVER_ERROR: ModelUnavailable,
    Fault.UNAVAILABLE: ModelUnavailable,
    Fault.HANG_UP: ModelUnavailable,
    Fault.DROP: ModelError,
    Fault.GARBAGE: ModelError,
    Fault.GARBAGE_EVENT: ModelError,
    Fault.IN_BAND: ModelError,
    Fault.NO_CHOICES: ModelError,
    Fault.NO_FINISH_REASON: ModelError,
    Fault.EMPTY: ModelError,
    Fault.SILENT: ModelTimeout,
    Fault.IDLE: ModelTimeout,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", FAILURES)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_each_fault_is_its_domain_error_in_bounded_time(
    genkits: dict[str, ChatGenkit], transport: TransportName, fault: Fault, mode: str
) -> None:
    inner = GenkitChatModel(genkits[transport], f"openai/fault-{fault}", temperature=None)
    # Short only where the end is waited for: a busy machine is slow by itself.
    turn_s = 0.6 if FAILURES[fault] is ModelTimeout else PATIENCE_S
    model = WithTimeouts(inner, first_token_s=turn_s, idle_s=turn_s, turn_s=turn_s)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(FAILURES[fault]) as caught:
            await answer(model, mode)
    assert type(caught.value) is FAILURES[fault]
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is not None or fault in {Fault.NO_FINISH_REASON, Fault.EMPTY}


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.RESET, Fault.IN_BAND, Fault.GARBAGE_EVENT])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_text_before_a_failure_is_delivered_before_the_error(
    genkits: dict[str, ChatGenkit], transport: TransportName, fault: Fault
) -> None:
    model = GenkitChatModel(genkits[transport], f"openai/fault-{fault}", temperature=None)
    pieces: list[str] = []
    with pytest.raises(ModelError):
        await answer(model, "stream", pieces)
    assert "".join(pieces) == "You said:"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_delayed_pieces_are_delivered_separately(
    genkits: dict[str, ChatGenkit],
    provider: FakeProvider,
    transport: TransportName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provider, "piece_delay_s", 0.05)
    model = GenkitChatModel(genkits[transport], "openai/fake-model", temperature=None)
    pieces, completion = await collect(model, ask())
    assert len(pieces) > 1
    assert "".join(pieces) == completion.text


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_refused_connection_is_unavailable(transport: TransportName, mode: str) -> None:
    model = GenkitChatModel(build(transport, closed_port_url()), "openai/m", temperature=None)
    with pytest.raises(ModelUnavailable):
        await answer(model, mode)
    await model.aclose()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_connection_that_is_never_accepted_is_a_timeout(transport: TransportName) -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for client in (first, second):  # fill the queue of connections that wait
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        ai = build(transport, url, connect_timeout_s=0.1)
        model = GenkitChatModel(ai, "openai/m", temperature=None)
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(ModelTimeout):
                await model.complete(ask())
        await model.aclose()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_transport_has_its_own_limit_for_the_whole_call(
    provider: FakeProvider, transport: TransportName, mode: str
) -> None:
    ai = build(transport, provider.base_url, turn_timeout_s=0.05)
    model = GenkitChatModel(ai, "openai/fault-silent", temperature=None)
    with pytest.raises(ModelTimeout):
        await answer(model, mode)
    await model.aclose()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_providers_retry_after_is_kept(
    genkits: dict[str, ChatGenkit], transport: TransportName
) -> None:
    model = GenkitChatModel(genkits[transport], "openai/fault-429", temperature=None)
    with pytest.raises(ModelUnavailable) as caught:
        await model.complete(ask())
    assert caught.value.retry_after_s == 1.0


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_missing_model_names_the_setting(
    genkits: dict[str, ChatGenkit], transport: TransportName
) -> None:
    for name in ("openai/fault-404", "local/nobody", "nobody"):
        model = GenkitChatModel(genkits[transport], name, temperature=None)
        with pytest.raises(ModelError, match="GENKIT_MODEL"):
            await model.complete(ask())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.CONTENT_FILTER, FinishReason.BLOCKED),
        (Fault.REFUSAL, FinishReason.BLOCKED),
        (Fault.LENGTH, FinishReason.LENGTH),
    ],
)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_blocked_and_cut_short_answers_are_answers(
    genkits: dict[str, ChatGenkit],
    transport: TransportName,
    fault: Fault,
    reason: FinishReason,
    mode: str,
) -> None:
    model = GenkitChatModel(genkits[transport], f"openai/fault-{fault}", temperature=None)
    completion = await answer(model, mode)
    assert completion.finish_reason is reason
    assert bool(completion.text) is (fault is not Fault.REFUSAL)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_missing_usage_is_none(
    genkits: dict[str, ChatGenkit], transport: TransportName, mode: str
) -> None:
    model = GenkitChatModel(genkits[transport], "openai/fault-no-usage", temperature=None)
    assert (await answer(model, mode)).usage is None
    model = GenkitChatModel(genkits[transport], "openai/fake-model", temperature=None)
    assert (await answer(model, mode)).usage == Usage(input_tokens=5, output_tokens=5)


# -- leaving, and several event loops -------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.IDLE])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_cancelling_closes_the_upstream_call(
    provider: FakeProvider,
    genkits: dict[str, ChatGenkit],
    transport: TransportName,
    mode: str,
    fault: Fault,
) -> None:
    model = GenkitChatModel(genkits[transport], f"openai/fault-{fault}", temperature=None)
    provider.arrived.clear()
    task = asyncio.create_task(answer(model, mode))
    await provider.arrived.wait()
    task.cancel()
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(asyncio.CancelledError):
            await task
        await provider.requests[-1].client_left.wait()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_closing_the_stream_closes_the_upstream_call(
    provider: FakeProvider, genkits: dict[str, ChatGenkit], transport: TransportName
) -> None:
    stream = GenkitChatModel(genkits[transport], "openai/fault-idle", temperature=None).stream(
        ask()
    )
    await anext(stream)
    async with asyncio.timeout(PATIENCE_S):
        await stream.aclose()
        await provider.requests[-1].client_left.wait()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_one_model_serves_several_event_loops(
    provider: FakeProvider, transport: TransportName
) -> None:
    model = GenkitChatModel(
        build(transport, provider.base_url), "openai/fake-model", temperature=None
    )

    async def elsewhere() -> str:
        completion = await model.complete(ask("there"))
        await model.aclose()
        return completion.text

    assert (await model.complete(ask("here"))).text == "You said: here"
    assert await asyncio.to_thread(asyncio.run, elsewhere()) == "You said: there"
    assert (await model.complete(ask("here"))).text == "You said: here"
    await model.aclose()


async def test_concurrent_calls_do_not_mix(genkits: dict[str, ChatGenkit]) -> None:
    model = GenkitChatModel(genkits["aiohttp"], "openai/fake-model", temperature=None)
    texts = [f"number {i}" for i in range(50)]
    answers = await asyncio.gather(*(collect(model, ask(text)) for text in texts))
    assert [completion.text for _, completion in answers] == [f"You said: {t}" for t in texts]


# -- the list of models ---------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_only_chat_models_are_listed(
    provider: FakeProvider, transport: TransportName
) -> None:
    listed = await chat_models(
        transport=transport, base_url=provider.base_url, api_key=None, connect_timeout_s=1
    )
    assert listed == ["fake-model"]


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault.UNAUTHENTICATED, ModelError),
        (Fault.UNAVAILABLE, ModelUnavailable),
        (Fault.HANG_UP, ModelUnavailable),
    ],
)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_unavailable_model_list_is_a_domain_error(
    fault: Fault, failure: type[ModelFailure], transport: TransportName
) -> None:
    async with FakeProvider() as provider:
        provider.fault = fault
        with pytest.raises(failure):
            await chat_models(
                transport=transport, base_url=provider.base_url, api_key="k", connect_timeout_s=1
            )
