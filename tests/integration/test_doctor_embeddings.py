"""What `chatbot doctor` says of the embedding model: whether it answers, and the fix if it does not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatbot.entrypoints.commands.doctor import examine
from chatbot.entrypoints.settings.loading import setting_names
from provider import SECRET, FakeProvider, Fault, Raw, closed_port_url

KEY = "sk-embeddings-only"


@pytest.fixture
async def upstream(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[FakeProvider]:
    monkeypatch.chdir(tmp_path)
    for name in setting_names():
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("API_KEY", "5kq0Vxg7S2m9ZtLr4Yb8Wn1Pc6Hd3Fj0")
    monkeypatch.setenv("JWT_SECRET", "Qw9Er7Ty5Ui3Op1As8Df6Gh4Jk2Lz0Xc")
    monkeypatch.setenv("STORAGE_URL", "memory:")
    monkeypatch.setenv("EMBEDDING_MODEL", "openai/bge-m3")
    monkeypatch.setenv("EMBEDDING_API_KEY", KEY)
    async with FakeProvider() as provider:
        monkeypatch.setenv("EMBEDDING_BASE_URL", provider.base_url)
        yield provider


async def finding() -> str:
    lines = await asyncio.to_thread(lambda: [str(one) for one in examine()])
    [line] = [line for line in lines if line[6:].startswith("embeddings: ")]
    assert KEY not in line
    assert SECRET not in line
    assert "OPENAI_" not in line
    return line


async def test_the_model_and_the_length_of_its_vectors_are_named(upstream: FakeProvider) -> None:
    upstream.dimension, upstream.api_key = 96, KEY
    assert await finding() == "ok    embeddings: openai/bge-m3 answers, 96 dimensions"


async def test_without_a_model_search_is_by_words(
    upstream: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDING_MODEL", "")
    assert await finding() == "ok    embeddings: off: search is by words"
    assert not upstream.requests


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (
            Fault.NOT_FOUND,
            "does not know this path or model (404 fake_error). Fix: check the path of",
        ),
        (
            Fault.UNAUTHENTICATED,
            "rejects the API key (401 fake_error). Fix: check EMBEDDING_API_KEY",
        ),
        (Fault.SILENT, "does not answer in time. Fix: check EMBEDDING_BASE_URL"),
        (Fault.HANG_UP, "closed the connection without an answer. Fix: check EMBEDDING_BASE_URL"),
        (Fault.SERVER_ERROR, "is overloaded or failing (500 fake_error). Fix: "),
    ],
)
async def test_what_fails_is_named_with_its_fix(
    upstream: FakeProvider, monkeypatch: pytest.MonkeyPatch, fault: Fault, text: str
) -> None:
    monkeypatch.setenv("EMBEDDING_TIMEOUT_SECONDS", "0.3" if fault is Fault.SILENT else "5")
    upstream.fault = fault
    line = await finding()
    assert line.startswith("FAIL  embeddings: 127.0.0.1")
    assert text in line


async def test_a_chat_model_that_makes_no_vectors_is_not_an_embedding_model(
    upstream: FakeProvider,
) -> None:
    upstream.raw = lambda _: Raw(pieces=[b'{"data": []}'], content_type="application/json")
    assert await finding() == (
        "FAIL  embeddings: The embedding model returned no usable answer. Fix: check "
        "EMBEDDING_MODEL, EMBEDDING_BASE_URL and EMBEDDING_API_KEY"
    )


async def test_a_provider_that_is_down_is_named(
    upstream: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDING_BASE_URL", closed_port_url())
    assert "cannot connect to 127.0.0.1:" in await finding()
