"""`chatbot reindex`, and what `chatbot doctor` says of the index."""

import asyncio
from collections.abc import Callable

import pytest

from canaries import plant_document
from chatbot.domain.chat import Lease, MessageRole, Session, SessionId, TurnId
from chatbot.domain.identity import UserId
from chatbot.domain.ports.backend import StorageOptions
from chatbot.domain.search import messages_scope
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.settings.loading import load_settings
from chatbot.entrypoints.storage_backends import backend_of
from commands import Run
from samples import ANA, CLIENT, T0, new_message

FIRST = SessionId("a" * 32)
TURN = TurnId("1" * 32)


def work(do: Callable[[Transaction], object]) -> None:
    """Do it on the configured store."""

    async def done() -> None:
        url = load_settings().storage.url
        async with backend_of(url).storage(url, StorageOptions()) as storage:
            await storage.transact(do)

    asyncio.run(done())


def said(tx: Transaction) -> None:
    """A session with one message of Ana, and one of the client."""
    for owner in (ANA, CLIENT):
        new = Session(id=FIRST, owner=owner, title="", created_at=T0, updated_at=T0)
        tx.sessions.create(new)
        with tx.sessions.held(owner, FIRST, TURN) as lease:
            tx.sessions.append(lease, new_message(lease, MessageRole.USER, "kites", ts=T0))


def forgotten(tx: Transaction) -> None:
    for owner in (ANA, CLIENT):
        tx.index.remove(messages_scope(owner), FIRST)


@pytest.fixture(params=["sqlite", "json"])
def store(request: pytest.FixtureRequest, ready: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    url = "sqlite:///data/chatbot.db" if request.param == "sqlite" else "json:data"
    monkeypatch.setenv("STORAGE_URL", url)
    assert ready("init")[0] == 0
    work(said)
    return str(request.param)


def search_lines(run: Run) -> list[str]:
    _, out, _ = run("doctor")
    return [line for line in out.splitlines() if " search: " in line]


FINE = ["ok    search: the index matches the stored messages and documents"]


def test_doctor_names_the_sessions_that_differ_and_reindex_fixes_them(
    store: str, ready: Run
) -> None:
    assert search_lines(ready) == FINE
    work(forgotten)
    if store == "sqlite":  # JSON files follow the logs by themselves
        assert sorted(search_lines(ready)) == [
            (
                "FAIL  search: the index differs for 1 sessions of client default. "
                "Fix: run `chatbot reindex`"
            ),
            (
                f"FAIL  search: the index differs for 1 sessions of user {ANA.id}. "
                "Fix: run `chatbot reindex`"
            ),
        ]
        assert ready("reindex") == (0, "sessions checked: 2, indexed again: 2\n", "")
    assert search_lines(ready) == FINE
    assert ready("reindex") == (0, "sessions checked: 2, indexed again: 0\n", "")
    assert ready("reindex", "--all") == (0, "sessions checked: 2, indexed again: 2\n", "")
    assert search_lines(ready) == FINE


def test_documents_that_the_index_lacks_are_named_and_indexed_again(store: str, ready: Run) -> None:
    work(lambda tx: plant_document(tx, UserId(ANA.id), "kites"))
    assert search_lines(ready) == FINE

    def forgotten(tx: Transaction) -> None:
        (document,) = tx.documents.all(limit=9)
        tx.index.clear(document.scope)

    work(forgotten)
    assert search_lines(ready) == [
        "FAIL  search: the index differs for 1 documents. Fix: run `chatbot reindex`"
    ]
    code, out, _ = ready("reindex")
    assert code == 0
    assert out.endswith("\ndocuments: indexed 1\n")
    assert search_lines(ready) == FINE


def test_documents_of_a_restored_or_migrated_store_are_indexed(
    store: str, ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(lambda tx: plant_document(tx, UserId(ANA.id), "kites"))
    assert ready("backup", "chatbot.backup.gz")[0] == 0
    source = load_settings().storage.url.raw
    monkeypatch.setenv("STORAGE_URL", "sqlite:///restored.db")
    code, out, _ = ready("restore", "chatbot.backup.gz")
    assert (code, out.splitlines()[-1]) == (0, "documents: indexed 1")
    assert search_lines(ready) == FINE
    migrate = ("migrate", "--from", source, "--to", "json:migrated")
    assert "documents:" not in ready(*migrate, "--dry-run")[1]
    assert ready(*migrate)[1].splitlines()[-1] == "documents: indexed 1"
    monkeypatch.setenv("STORAGE_URL", "json:migrated")
    assert search_lines(ready) == FINE
    assert "documents:" not in ready(*migrate)[1]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_reindex_is_refused_for_unknown_people_and_while_a_session_is_in_use(
    store: str, ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ready("reindex", "--owner", "nobody@example.com")[0] == 1
    held: list[Lease] = []
    work(lambda tx: held.append(tx.sessions.acquire(ANA, FIRST, TURN)))
    monkeypatch.setattr("chatbot.application.leases.BUSY_WAIT_S", 0.01)
    code, out, err = ready("reindex", "--all")
    assert (code, out) == (1, "sessions checked: 2, indexed again: 1\n")
    assert err == "chatbot: Sessions in use, not checked: 1. Run the command again.\n"
