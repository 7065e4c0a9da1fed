"""Commands with an embedding model: what they store has vectors when they end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from chatbot.domain.ports.backend import StorageOptions
from chatbot.domain.search import messages_scope
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import DEFAULT_PRINCIPAL
from chatbot.entrypoints.settings.loading import load_settings
from chatbot.entrypoints.storage_backends import backend_of
from commands import Run
from provider import FakeProvider, Fault

MODEL = "openai/bge-m3"


@pytest.fixture
async def upstream(ready: Run, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        monkeypatch.setenv("STORAGE_URL", "sqlite:///data/chatbot.db")
        monkeypatch.setenv("EMBEDDING_MODEL", MODEL)
        monkeypatch.setenv("EMBEDDING_BASE_URL", provider.base_url)
        await asyncio.to_thread(ready, "init")
        write_files(Path("files"))
        yield provider


def write_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "short.md").write_text("# Holidays\n23 days.", encoding="utf-8")
    long = "\n\n".join(f"# Part {n}\n{'Dogs are welcome. ' * 60}" for n in range(80))
    (folder / "long.md").write_text(long, encoding="utf-8")


async def vectors() -> Mapping[str, tuple[int, int]]:
    """The numbers of passages and of vectors, by the name of the file."""
    url = load_settings().storage.url

    def work(tx: Transaction) -> Mapping[str, tuple[int, int]]:
        found = {}
        for each in tx.documents.all():
            there = tx.index.vectors_of(each.scope, MODEL, parent=each.id).get(each.id, ())
            found[Path(each.source).name] = (each.newest.passages, len(there))
        return found

    async with backend_of(url).storage(url, StorageOptions()) as storage:
        return await storage.transact(work)


async def test_all_passages_have_vectors_when_the_command_ends(
    upstream: FakeProvider, ready: Run
) -> None:
    code, out, _ = await asyncio.to_thread(ready, "ingest", "files", "--public")
    assert (code, out) == (0, "added: 2\n")
    found = await vectors()
    assert found["short.md"] == (1, 1)
    passages, there = found["long.md"]
    assert passages > 64
    assert there == passages
    sent = [text for each in upstream.requests for text in each.body["input"]]
    assert len(sent) == len(set(sent)) == passages + 1


async def test_a_provider_that_fails_costs_only_the_vectors_and_reindex_makes_them(
    upstream: FakeProvider, ready: Run
) -> None:
    upstream.fault = Fault.UNAUTHENTICATED
    code, out, _ = await asyncio.to_thread(ready, "ingest", "files", "--public")
    assert (code, out) == (0, "added: 2\n")
    assert [there for _, there in (await vectors()).values()] == [0, 0]
    upstream.fault = None
    assert (await asyncio.to_thread(ready, "reindex"))[0] == 0
    assert all(passages == there for passages, there in (await vectors()).values())


async def test_what_is_said_in_the_terminal_has_vectors_when_the_command_ends(
    upstream: FakeProvider, ready: Run
) -> None:
    assert (await asyncio.to_thread(ready, "chat", "My dog is called Luna"))[0] == 0
    sent = [text for each in upstream.requests for text in each.body["input"]]
    assert sent[0] == "My dog is called Luna"
    assert len(sent) == 2
    url = load_settings().storage.url
    async with backend_of(url).storage(url, StorageOptions()) as storage:
        scope = messages_scope(DEFAULT_PRINCIPAL.owner)
        there = await storage.transact(lambda tx: tx.index.vectors_of(scope, MODEL))
    assert [sorted(numbers) for numbers in there.values()] == [[1, 2]]


async def test_a_silent_provider_keeps_the_terminal_no_longer_than_a_search(
    upstream: FakeProvider, ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDING_TIMEOUT_SECONDS", "0.3")
    upstream.fault = Fault.SILENT
    async with asyncio.timeout(30):
        assert (await asyncio.to_thread(ready, "chat", "My dog is called Luna"))[0] == 0
