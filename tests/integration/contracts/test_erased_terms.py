"""Nothing of a deleted message is left in the files of the index: no name, digest of a word or vector."""

import asyncio
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.adapters.search.vectors import Quantised
from chatbot.domain.chat import Message, MessageRole, Session, SessionId, TurnId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import messages_scope
from chatbot.domain.transaction import Transaction
from index_contents import indexed_of
from samples import ANA, T0
from vectors_of_texts import embedded, vector_of

SCOPE = messages_scope(ANA)
TURN = TurnId("1" * 32)
GONE, KEPT = SessionId("a" * 32), SessionId("b" * 32)
NAME = "zanzibarnameserver"
SECRET = f"{NAME}: the xylophonequartet rehearses in vallehermosodelrio"
Erase = Callable[[Transaction], None]


def fill(tx: Transaction) -> None:
    for session_id, texts in ((GONE, [SECRET] * 40), (KEPT, ["a kite"] * 40)):
        new = Session(id=session_id, owner=ANA, title="", created_at=T0, updated_at=T0)
        tx.sessions.create(new)
        with tx.sessions.held(ANA, session_id, TURN) as lease:
            for text in texts:
                message = Message(role=MessageRole.USER, content=text, ts=T0, turn_id=TURN)
                tx.sessions.append(lease, message)
        vectors = embedded(dict.fromkeys(range(1, 41), texts[0]), dimension=64)
        tx.index.put_vectors(SCOPE, session_id, vectors)


def delete(tx: Transaction) -> None:
    with tx.sessions.held(ANA, GONE, TURN) as lease:
        tx.sessions.delete(lease)


def reset(tx: Transaction) -> None:
    with tx.sessions.held(ANA, GONE, TURN) as lease:
        tx.sessions.reset(lease, ts=T0)


def trim(tx: Transaction) -> None:
    with tx.sessions.held(ANA, GONE, TURN) as lease:
        tx.sessions.trim(lease, 40)


def delete_all(tx: Transaction) -> None:
    """As an erasure does."""
    for session_id in (GONE, KEPT):
        with tx.sessions.held(ANA, session_id, TURN) as lease:
            tx.sessions.delete(lease)
    tx.sessions.clear(ANA)


def in_files(folder: Path, texts: list[bytes]) -> list[str]:
    """The files with one of these texts."""
    files = [path for path in folder.rglob("*") if path.is_file() and "index.lock" not in path.name]
    return [path.name for path in files if any(each in path.read_bytes() for each in texts)]


@pytest.mark.parametrize("erase", [delete, reset, trim, delete_all])
@pytest.mark.parametrize("is_folded", [False, True])
@pytest.mark.parametrize("kind", ["json_files", "sqlite"])
def test_no_term_of_a_deleted_message_is_left_in_any_file(
    make_storage: Callable[[str], Storage],
    tmp_path: Path,
    kind: str,
    is_folded: bool,
    erase: Erase,
) -> None:
    storage = make_storage(kind)

    async def filled() -> list[bytes]:
        await storage.transact(fill)
        found = [each for each in await indexed_of(storage, ANA) if each.parent == GONE]
        terms = {term for term, _ in found[0].terms}
        assert len(terms) == 3
        assert {each.label for each in found} == {NAME}
        if is_folded:
            await storage.transact(fold)
        vector = Quantised.of(vector_of(SECRET, 64)).code
        return [NAME.encode(), vector, *(array("Q", [term]).tobytes() for term in terms)]

    async def erased() -> None:
        async with storage:
            texts = await filled()
            assert in_files(tmp_path, texts)
            assert in_files(tmp_path, texts[1:2])
            await storage.transact(erase)
            assert in_files(tmp_path, texts) == []
            left = {each.parent for each in await indexed_of(storage, ANA)}
            assert left == (set() if erase is delete_all else {KEPT})

    asyncio.run(erased())


def fold(tx: Transaction) -> None:
    assert isinstance(tx.index, StoredIndex)
    tx.index.fold(SCOPE)
    assert tx.index.plan(SCOPE) is None


async def test_a_large_segment_is_rewritten_after_the_next_search(
    make_storage: Callable[[str], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatbot.adapters.search.stored_index._REWRITTEN_AT_ONCE", 79)
    async with make_storage("sqlite") as storage:
        await storage.transact(fill)
        await storage.transact(fold)
        await storage.transact(delete)

        def folded_again(tx: Transaction) -> None:
            assert isinstance(tx.index, StoredIndex)
            assert tx.index.plan(SCOPE) is not None
            fold(tx)

        await storage.transact(folded_again)
        assert {each.parent for each in await indexed_of(storage, ANA)} == {KEPT}
