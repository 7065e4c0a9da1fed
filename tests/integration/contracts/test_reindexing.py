"""The index of every store is compared with its messages, and what differs is indexed again."""

from collections.abc import AsyncIterator
from itertools import count

import pytest

from chatbot.adapters.search import records, stored_index
from chatbot.adapters.search.analyser import VERSION
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.application.reindexing import Reindexed, Reindexing
from chatbot.domain.chat import Message, MessageRole, Session, SessionId, TurnId
from chatbot.domain.errors import NotFound
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Passage, messages_scope
from chatbot.domain.transaction import Transaction
from index_contents import assert_index_is_true
from samples import ANA, CLIENT, T0, user

SCOPE = messages_scope(ANA)
TURN = TurnId("1" * 32)
MANY = 1200
"""More than one transaction indexes."""


def session_id(number: int) -> SessionId:
    return SessionId(f"{number:032x}")


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


@pytest.fixture
def reindexing(storage: Storage) -> Reindexing:
    ids = count(1)
    return Reindexing(storage, new_id=lambda: f"{next(ids):032x}")


async def fill(storage: Storage, number: int, texts: list[str]) -> SessionId:
    def work(tx: Transaction) -> None:
        new = Session(id=session_id(number), owner=ANA, title="", created_at=T0, updated_at=T0)
        tx.sessions.create(new)
        with tx.sessions.held(ANA, new.id, TURN) as lease:
            for seq, text in enumerate(texts):
                role = MessageRole.ASSISTANT if seq % 2 else MessageRole.USER
                message = Message(role=role, content=text, ts=T0, turn_id=TURN)
                tx.sessions.append(lease, message)

    await storage.transact(work)
    return session_id(number)


async def damage(storage: Storage, session_id: SessionId) -> None:
    """Make the index forget a session, and remember one that does not exist."""

    def work(tx: Transaction) -> None:
        tx.index.indexed(SCOPE)
        tx.index.remove(SCOPE, session_id)
        tx.index.append(SCOPE, "f" * 32, [Passage(seq=1, text="nobody's")])

    await storage.transact(work)


async def test_an_index_that_is_true_is_left_alone(
    storage: Storage, reindexing: Reindexing
) -> None:
    await fill(storage, 1, ["one", "", "three"])
    await fill(storage, 2, ["four"])
    assert await reindexing.differing(ANA) == []
    assert await reindexing.run([ANA]) == Reindexed(compared=2)


async def test_what_the_index_lacks_or_has_too_much_is_found_and_indexed_again(
    storage: Storage, reindexing: Reindexing, request: pytest.FixtureRequest
) -> None:
    first = await fill(storage, 1, ["one", "", "three"])
    await fill(storage, 2, [f"text {number}" for number in range(9)])
    await damage(storage, first)
    is_json = request.node.callspec.params["closed_storage"] == "json_files"
    wanted = ["f" * 32] if is_json else [first, "f" * 32]  # JSON files follow the logs themselves
    assert await reindexing.differing(ANA) == wanted
    reported: list[tuple[int, int]] = []
    done = await reindexing.run([ANA], progress=lambda *given: reported.append(given))
    assert done == Reindexed(compared=2, indexed=len(wanted))
    assert reported == [(2, 2)]
    await assert_index_is_true(storage, ANA)
    assert await reindexing.differing(ANA) == []


async def test_a_long_session_is_indexed_again_in_parts(
    storage: Storage, reindexing: Reindexing
) -> None:
    first = await fill(storage, 1, [f"text {number}" for number in range(MANY)])
    await damage(storage, first)
    assert (await reindexing.run([ANA], every=True)).indexed == 1
    await reindexing.run([ANA])
    assert len(await assert_index_is_true(storage, ANA)) == MANY


async def test_messages_that_an_older_version_has_analysed_are_indexed_again(
    storage: Storage, reindexing: Reindexing, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await fill(storage, 1, ["one", "two"])
    second = await fill(storage, 2, [f"text {number}" for number in range(70)])
    await storage.transact(lambda tx: tx.index.indexed(SCOPE))

    def fold(tx: Transaction) -> None:
        assert isinstance(tx.index, StoredIndex)
        tx.index.fold(SCOPE)

    await storage.transact(fold)
    third = await fill(storage, 3, ["three"])
    monkeypatch.setattr(records, "VERSION", VERSION + 1)
    monkeypatch.setattr(stored_index, "VERSION", VERSION + 1)
    records.record_of.cache_clear()
    assert {*await reindexing.differing(ANA)} >= {first, second}
    assert (await reindexing.run([ANA])).indexed in {2, 3}  # JSON files were not read before
    assert await reindexing.differing(ANA) == []
    assert await storage.transact(lambda tx: tx.index.indexed(SCOPE)) == {
        first: 2,
        second: 70,
        third: 1,
    }
    records.record_of.cache_clear()


async def test_people_are_found_by_their_email_address(
    storage: Storage, reindexing: Reindexing
) -> None:
    await storage.transact(lambda tx: tx.users.add(user(1)))
    assert [owner.id for owner in await reindexing.owners(user(1).email)] == [user(1).id]
    with pytest.raises(NotFound):
        await reindexing.owners("nobody@example.com")
    await fill(storage, 1, ["one"])
    assert await reindexing.owners() == [ANA]
    assert CLIENT not in await reindexing.owners()
