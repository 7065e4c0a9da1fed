"""Both transports and the whole service against llama.cpp's server: a provider that nobody here wrote."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import httpx
import pytest

from chatbot.adapters.llm.genkit_model import GenkitChatModel
from chatbot.adapters.llm.provider import TransportName, build_genkit, chat_models
from chatbot.domain.chat import FinishReason, MessageRole
from chatbot.domain.errors import ContextTooLong
from chatbot.domain.ports.model import Completion, ModelRequest, PromptMessage, Task
from chatbot.entrypoints.commands.doctor import examine
from llama_server import CONTEXT_TOKENS, MODEL, llama_server
from service import API_KEY, JWT_SECRET, SSE, serving, settings_for_tests
from tiny_model import WORDS

ENDLESS = CONTEXT_TOKENS // 2
"""Tokens that take the tiny model seconds: it does not end by itself."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with llama_server(tmp_path_factory.mktemp("llama")) as address:
        yield address


@pytest.fixture(params=["aiohttp", "sdk"])
def transport(request: pytest.FixtureRequest) -> TransportName:
    found: TransportName = request.param
    return found


@pytest.fixture
async def model(address: str, transport: TransportName) -> AsyncIterator[GenkitChatModel]:
    ai = build_genkit(
        transport=transport,
        api_key=None,
        base_url=f"{address}/v1",
        connect_timeout_s=10,
        turn_timeout_s=60,
    )
    async with aclosing(GenkitChatModel(ai, f"openai/{MODEL}", temperature=0.5)) as model:
        yield model


def request(
    text: str = "Hola, señora", *, task: Task = Task.CHAT, max_output_tokens: int = 12
) -> ModelRequest:
    return ModelRequest(
        task=task,
        system="Responde en español.",
        messages=(PromptMessage(role=MessageRole.USER, text=text),),
        max_output_tokens=max_output_tokens,
    )


async def test_its_models_are_listed(address: str, transport: TransportName) -> None:
    listed = await chat_models(
        transport=transport, base_url=f"{address}/v1", api_key=None, connect_timeout_s=10
    )
    assert listed == [MODEL]


async def test_embedded_model_completes_within_the_limit_and_reports_its_usage(
    model: GenkitChatModel,
) -> None:
    answer = await model.complete(request())
    assert answer.text
    assert set(answer.text.split()) <= set(WORDS)
    assert answer.finish_reason is FinishReason.LENGTH
    assert answer.usage is not None
    assert answer.usage.output_tokens == 12
    assert answer.usage.input_tokens > 12


async def test_embedded_model_streams_word_by_word_and_counts(model: GenkitChatModel) -> None:
    *pieces, last = [piece async for piece in model.stream(request(max_output_tokens=400))]
    assert isinstance(last, Completion)
    assert len(pieces) > 1
    assert "".join(str(piece) for piece in pieces) == last.text
    assert len(last.text.split()) == 400
    assert last.finish_reason is FinishReason.LENGTH
    assert last.usage is not None
    assert last.usage.output_tokens == 400


async def test_embedded_model_returns_json_for_a_memory_update(model: GenkitChatModel) -> None:
    answer = await model.complete(request(task=Task.EXTRACT_MEMORY, max_output_tokens=64))
    assert json.loads(answer.text) == {}
    assert answer.finish_reason is FinishReason.STOP


async def test_embedded_model_stops_when_its_stream_is_closed(
    model: GenkitChatModel, address: str
) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        async with aclosing(model.stream(request(max_output_tokens=ENDLESS))) as pieces:
            await anext(pieces)
            assert await _is_at_work(client)
        deadline = time.monotonic() + 1
        while await _is_at_work(client):
            assert time.monotonic() < deadline, "it keeps generating for a disconnected client"
            await asyncio.sleep(0.02)


async def _is_at_work(client: httpx.AsyncClient) -> bool:
    slots = (await client.get("/slots")).raise_for_status().json()
    return any(slot["is_processing"] for slot in slots)


async def test_prompt_beyond_its_context_is_distinguished_from_other_refusals(
    model: GenkitChatModel,
) -> None:
    too_long = request("contrato " * CONTEXT_TOKENS)
    with pytest.raises(ContextTooLong) as whole:
        await model.complete(too_long)
    with pytest.raises(ContextTooLong) as streamed:
        await anext(model.stream(too_long))
    for caught in (whole.value, streamed.value):
        assert (caught.status, caught.code) == (400, "exceed_context_size_error")
    assert (await model.complete(request())).text


async def test_whole_service_answers_and_streams_with_it(
    address: str, transport: TransportName
) -> None:
    settings = settings_for_tests(
        openai_base_url=f"{address}/v1",
        genkit_model=f"openai/{MODEL}",
        model_transport=transport,
        model_max_output_tokens=64,
    )
    async with serving(settings) as service:
        answer = await service.client.post("/chat", json={"prompt": "Hola"})
        assert answer.status_code == 200
        reply = answer.json()
        assert reply["finish_reason"] == "length"
        assert reply["usage"]["estimated"] is False
        assert set(reply["text"].split()) <= set(WORDS)
        body = {"prompt": "¿Qué contrato?", "session_id": reply["session_id"]}
        streamed = await service.client.post("/chat", json=body, headers=SSE)
        assert "event: done" in streamed.text
        assert "event: error" not in streamed.text


async def test_doctor_finds_the_served_model_without_a_model_name(
    address: str, transport: TransportName, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"API_KEY": API_KEY, "JWT_SECRET": JWT_SECRET, "STORAGE_URL": "memory:"}
    values |= {"OPENAI_BASE_URL": f"{address}/v1", "MODEL_TRANSPORT": transport, "GENKIT_MODEL": ""}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    findings = await asyncio.to_thread(lambda: [str(one) for one in examine()])
    assert f"ok    model: openai/{MODEL} is served" in findings
