"""The embedding model over HTTP, with providers that differ, refuse and fail."""

import json
import struct
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest

from chatbot.adapters.llm.provider import TransportName
from chatbot.domain.errors import (
    ContextTooLong,
    ModelError,
    ModelFailure,
    ModelTimeout,
    ModelUnavailable,
)
from chatbot.domain.ports.embedder import Embedder
from chatbot.domain.ports.telemetry import Activity, NoTelemetry
from embedding_calls import embedder_at, endpoint
from meaning import vector_of
from provider import SECRET, FakeProvider, Fault, Raw, closed_port_url

Json = dict[str, Any]
TEXTS = ["Vacaciones en agosto", "The dog sleeps", "holiday"]


@pytest.fixture(params=["aiohttp", "sdk"])
def transport(request: pytest.FixtureRequest) -> TransportName:
    name: TransportName = request.param
    return name


@pytest.fixture
async def upstream() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


@pytest.fixture
async def embedder(upstream: FakeProvider, transport: TransportName) -> AsyncIterator[Embedder]:
    made = embedder_at(upstream.base_url, transport=transport)
    yield made
    await made.aclose()


async def listed(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    return [list(each) for each in await embedder.embed(texts)]


def answering(data: Any, **others: Any) -> Callable[[Json], Raw]:
    """A provider that answers with these embeddings."""
    body = json.dumps({"object": "list", "data": data, **others}).encode()
    return lambda _: Raw(pieces=[body], content_type="application/json")


def refusing(status: int, message: str) -> Raw:
    body = json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode()
    return Raw(pieces=[body], status=status, content_type="application/json")


@pytest.mark.parametrize(
    "model", ["bge-m3", "nomic-embed-text:latest", "text-embedding-3-small", "openai/x", "mxbai"]
)
async def test_any_name_is_an_embedding_model(
    upstream: FakeProvider, transport: TransportName, model: str
) -> None:
    embedder = embedder_at(upstream.base_url, transport=transport, model=f"openai/{model}")
    assert await listed(embedder, TEXTS) == [vector_of(text) for text in TEXTS]
    [request] = upstream.requests
    assert (request.method, request.path) == ("POST", "/v1/embeddings")
    assert request.body == {"model": model, "input": TEXTS}
    assert request.headers["authorization"] == "Bearer sk-ours"
    await embedder.aclose()


async def test_azures_deployments_get_their_query_and_their_key(
    upstream: FakeProvider, transport: TransportName
) -> None:
    url = f"{upstream.base_url}?api-version=2024-10-21"
    embedder = embedder_at(url, transport=transport)
    await embedder.embed(TEXTS)
    [request] = upstream.requests
    assert (request.path, request.query) == ("/v1/embeddings", "api-version=2024-10-21")
    assert request.headers["api-key"] == "sk-ours"
    await embedder.aclose()


async def test_vectors_are_in_the_order_of_the_texts(
    upstream: FakeProvider, embedder: Embedder
) -> None:
    upstream.raw = answering(
        [
            {"index": 2, "embedding": [3]},
            {"index": 0, "embedding": [1]},
            {"index": 1, "embedding": [2]},
        ]
    )
    assert await listed(embedder, TEXTS) == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize("index", [{}, {"index": None}, {"index": 0}])
async def test_vectors_without_numbers_are_taken_in_the_order_in_which_they_come(
    upstream: FakeProvider, embedder: Embedder, index: Json
) -> None:
    upstream.raw = answering([{**index, "embedding": [n, 1]} for n in range(3)])
    assert await listed(embedder, TEXTS) == [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]


async def test_base64_and_integers_are_read(upstream: FakeProvider, embedder: Embedder) -> None:
    encoded = b64encode(struct.pack("<3f", 0.5, -2.0, 0.0)).decode()
    upstream.raw = answering([{"embedding": encoded}, {"embedding": [1, 0, -3]}])
    assert await listed(embedder, TEXTS[:2]) == [[0.5, -2.0, 0.0], [1.0, 0.0, -3.0]]


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"embedding": [1, 2]}],
        [{"embedding": [1, 2]}] * 3,
        [{"embedding": [1, 2]}, {"embedding": [1]}],
        [{"embedding": [1, 2]}, {"embedding": []}],
        [{"embedding": [1, 2]}, {"embedding": [0, 0]}],
        [{"embedding": [1, 2]}, {"embedding": [float("nan"), 1]}],
        [{"embedding": [1, 2]}, {"embedding": [float("inf"), 1]}],
        [{"embedding": [1, 2]}, {"embedding": [10**400, 1]}],
        [{"embedding": [1, 2]}, {"embedding": None}],
        [{"embedding": [1, 2]}, {"embedding": [[1, 2]]}],
        [{"embedding": [1, 2]}, {"embedding": ["1", "2"]}],
        [{"embedding": [1] * 16_385}] * 2,
        [{"embedding": [1, 2]}, {"embedding": "no base64"}],
        [{"embedding": [1, 2]}, {"embedding": "AAAA"}],
        [{"index": 0, "embedding": [1, 2]}, {"index": 2, "embedding": [1, 2]}],
        [{"index": 1, "embedding": [1, 2]}, {"index": 1, "embedding": [1, 2]}],
        [[1, 2], [3, 4]],
        {"0": [1, 2]},
        "vectors",
    ],
    ids=lambda data: str(data)[:80],
)
async def test_an_answer_without_one_usable_vector_for_each_text_is_an_error(
    upstream: FakeProvider, embedder: Embedder, data: Any
) -> None:
    upstream.raw = answering(data)
    with pytest.raises(ModelError) as failed:
        await embedder.embed(TEXTS[:2])
    assert str(failed.value) == "The embedding model returned no usable answer."


FAULTS: list[tuple[Fault, type[ModelFailure], str]] = [
    (Fault.UNAUTHENTICATED, ModelError, "rejected the API key"),
    (Fault.NOT_FOUND, ModelError, "check EMBEDDING_MODEL and EMBEDDING_BASE_URL"),
    (Fault.REDIRECT, ModelError, "check EMBEDDING_BASE_URL"),
    (Fault.BAD_REQUEST, ModelError, "rejected the request"),
    (Fault.HANG_UP, ModelUnavailable, "The embedding model is not available"),
    (Fault.SERVER_ERROR, ModelUnavailable, "The embedding model is not available"),
]


@pytest.mark.parametrize(("fault", "kind", "text"), FAULTS)
async def test_failures_name_the_embedding_model_and_its_settings(
    upstream: FakeProvider, embedder: Embedder, fault: Fault, kind: type[ModelFailure], text: str
) -> None:
    upstream.fault = fault
    with pytest.raises(kind) as failed:
        await embedder.embed(TEXTS)
    assert text in str(failed.value)
    advice = endpoint(upstream.base_url).explain(failed.value)
    for said in (str(failed.value), advice):
        assert SECRET not in said
        assert "OPENAI_" not in said
        assert "GENKIT_MODEL" not in said


async def test_a_provider_that_is_down_is_unavailable(transport: TransportName) -> None:
    embedder = embedder_at(closed_port_url(), transport=transport)
    with pytest.raises(ModelUnavailable):
        await embedder.embed(TEXTS)
    await embedder.aclose()


async def test_a_silent_provider_costs_no_more_than_the_time_limit(
    upstream: FakeProvider, transport: TransportName
) -> None:
    upstream.fault = Fault.SILENT
    embedder = embedder_at(upstream.base_url, transport=transport, timeout_s=0.2)
    with pytest.raises(ModelTimeout, match="The embedding model took too long"):
        await embedder.embed(TEXTS)
    await embedder.aclose()


async def test_more_texts_get_more_time(upstream: FakeProvider, transport: TransportName) -> None:
    upstream.fault, upstream.slow_s = Fault.SLOW, 0.5
    embedder = embedder_at(upstream.base_url, transport=transport, timeout_s=0.1, per_text_s=0.1)
    with pytest.raises(ModelTimeout):
        await embedder.embed(TEXTS[:2])
    assert len(await embedder.embed(["text"] * 30)) == 30
    await embedder.aclose()


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.UNAVAILABLE])
async def test_a_busy_provider_is_asked_again_as_it_wishes(
    upstream: FakeProvider, transport: TransportName, fault: Fault
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        upstream.fault = None

    upstream.fault, upstream.retry_after = fault, "1"
    embedder = embedder_at(upstream.base_url, transport=transport, sleep=sleep)
    assert len(await embedder.embed(TEXTS)) == 3
    assert waits == [1.0]
    await embedder.aclose()


async def test_a_long_wait_is_left_to_the_caller(
    upstream: FakeProvider, embedder: Embedder
) -> None:
    upstream.fault, upstream.retry_after = Fault.RATE_LIMITED, "30"
    with pytest.raises(ModelUnavailable) as failed:
        await embedder.embed(TEXTS)
    assert (failed.value.retry_after_s, failed.value.status) == (30, 429)
    assert len(upstream.requests) == 1


TOO_LONG = [
    (400, "This model's maximum context length is 8192 tokens, however you requested 9000 tokens."),
    (400, "Invalid 'input[0]': maximum input length is 8192 tokens."),
    (400, "the input length exceeds the context length"),
    (413, "Input validation error: `inputs` must have less than 512 tokens. Given: 1000"),
    (500, "input (8002 tokens) is too large to process. increase the physical batch size"),
]


@pytest.mark.parametrize(("status", "message"), TOO_LONG)
async def test_a_text_that_is_too_long_is_cut_until_it_fits_and_later_ones_at_once(
    upstream: FakeProvider, embedder: Embedder, status: int, message: str
) -> None:
    def raw(body: Json) -> Raw | None:
        longest = max(map(len, body["input"]))
        return refusing(status, message) if longest > 1500 else None

    upstream.raw = raw
    long = "perro " * 2000
    assert len(await embedder.embed([long])) == 1
    assert [len(each.body["input"][0]) for each in upstream.requests] == [8000, 4000, 2000, 1000]
    await embedder.embed([long, "short"])
    assert [len(text) for text in upstream.requests[-1].body["input"]] == [1000, 5]
    assert len(upstream.requests) == 5


async def test_texts_that_are_too_long_together_are_not_cut(
    upstream: FakeProvider, embedder: Embedder
) -> None:
    upstream.raw = lambda body: refusing(*TOO_LONG[0]) if len(body["input"]) > 1 else None
    with pytest.raises(ContextTooLong, match="longer than the embedding model's context"):
        await embedder.embed(["long " * 99, "longer " * 99])
    assert len(upstream.requests) == 1


async def test_a_text_that_is_always_too_long_is_given_up(
    upstream: FakeProvider, embedder: Embedder
) -> None:
    upstream.raw = lambda _: refusing(*TOO_LONG[0])
    with pytest.raises(ContextTooLong):
        await embedder.embed(["x" * 9000])
    assert [len(each.body["input"][0]) for each in upstream.requests][-1] == 250


class Counting(NoTelemetry):
    def __init__(self) -> None:
        super().__init__()
        self.counted: list[int] = []
        self.activities: list[Activity] = []

    def during(self, activity: Activity) -> AbstractContextManager[object]:
        self.activities.append(activity)
        return super().during(activity)

    def count_embedding_tokens(self, tokens: int) -> None:
        self.counted.append(tokens)


async def test_the_tokens_of_each_call_are_reported(upstream: FakeProvider) -> None:
    telemetry = Counting()
    embedder = embedder_at(upstream.base_url, telemetry=telemetry)
    await embedder.embed(TEXTS)
    for usage in ({}, {"usage": None}, {"usage": {"prompt_tokens": "7"}}):
        upstream.raw = answering([{"embedding": [1]}], **usage)
        await embedder.embed(["x"])
    assert telemetry.counted == [7]
    assert telemetry.activities == [Activity.EMBEDDING] * 4
    await embedder.aclose()


async def test_an_error_with_status_200_is_an_error(
    upstream: FakeProvider, embedder: Embedder
) -> None:
    upstream.raw = lambda _: Raw(
        pieces=[b'{"error": {"message": "model not loaded", "code": "x"}}'],
        content_type="application/json",
    )
    with pytest.raises(ModelError):
        await embedder.embed(TEXTS)
