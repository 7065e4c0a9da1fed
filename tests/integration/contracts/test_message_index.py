"""The messages of every store are in its index, whatever writes and removes them."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from chatbot.domain.chat import (
    InterruptReason,
    Lease,
    Message,
    MessageRole,
    Question,
    Session,
    SessionId,
    TurnId,
)
from chatbot.domain.identity import Owner
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import messages_scope, passages_of
from chatbot.domain.transaction import Transaction
from index_contents import assert_index_is_true, indexed_of
from samples import ANA, ODD_OWNER, ODD_TEXTS, T0, new_message

BOB = Owner(kind="user", id="b" * 32)
TURN = TurnId("1" * 32)


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def session_id(number: int) -> SessionId:
    return SessionId(f"{number:032x}")


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


async def begin(storage: Storage, number: int = 1, owner: Owner = ANA) -> SessionId:
    new = Session(id=session_id(number), owner=owner, title="", created_at=T0, updated_at=T0)
    await storage.transact(lambda tx: tx.sessions.create(new))
    return new.id


async def take_turn(
    storage: Storage,
    session_id: SessionId,
    asked: str = "Where are the kites?",
    answered: str = "In the shed.",
    *,
    owner: Owner = ANA,
    reason: InterruptReason | None = None,
) -> None:
    question = Question(
        owner=owner,
        session_id=session_id,
        turn_id=TURN,
        text=asked,
        ts=T0,
        summarized_step=1,
        history_limit=9,
    )
    context = await storage.store_question(question)
    answer = new_message(context.lease, MessageRole.ASSISTANT, answered, ts=T0, reason=reason)
    await storage.store_answer(context.lease, answer)


async def hold(storage: Storage, session_id: SessionId, owner: Owner = ANA) -> Lease:
    return await storage.transact(lambda tx: tx.sessions.acquire(owner, session_id, TURN))


async def test_both_messages_of_a_turn_are_indexed_with_it(storage: Storage) -> None:
    first = await begin(storage)
    await take_turn(storage, first, "Ana: where are the kites?", "In the shed, Ana.")
    found = await assert_index_is_true(storage, ANA)
    assert [(each.parent, each.seq) for each in found] == [(first, 1), (first, 2)]
    assert [each.label for each in found] == ["ana", ""]
    assert all(each.terms for each in found)


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_odd_texts_are_indexed_as_they_are_in_any_store(storage: Storage, text: str) -> None:
    await take_turn(storage, await begin(storage, owner=ODD_OWNER), text, text, owner=ODD_OWNER)
    await assert_index_is_true(storage, ODD_OWNER)


async def test_an_interrupted_answer_is_indexed_only_if_it_has_a_text(storage: Storage) -> None:
    first = await begin(storage)
    await take_turn(storage, first, "one", "", reason=InterruptReason.UPSTREAM)
    await take_turn(storage, first, "two", "half an ans", reason=InterruptReason.CLIENT)
    found = await assert_index_is_true(storage, ANA)
    assert [each.seq for each in found] == [1, 3, 4]


async def test_the_question_after_a_crash_is_indexed(storage: Storage) -> None:
    first = await begin(storage)
    lease = await hold(storage, first)

    def crash(tx: Transaction) -> None:
        tx.sessions.append(lease, new_message(lease, MessageRole.USER, "never answered", ts=T0))
        tx.sessions.release(lease)

    await storage.transact(crash)
    await take_turn(storage, first, "and now?")
    assert [each.seq for each in await assert_index_is_true(storage, ANA)] == [1, 3, 4]


async def test_the_index_of_one_person_has_nothing_of_another(storage: Storage) -> None:
    await take_turn(storage, await begin(storage, 1, ANA), "mine", owner=ANA)
    await take_turn(storage, await begin(storage, 2, BOB), "theirs", owner=BOB)
    assert {each.parent for each in await assert_index_is_true(storage, ANA)} == {session_id(1)}
    assert {each.parent for each in await assert_index_is_true(storage, BOB)} == {session_id(2)}


async def test_trimmed_messages_leave_the_index(storage: Storage) -> None:
    first = await begin(storage)
    for number in range(3):
        await take_turn(storage, first, f"question {number}", f"answer {number}")
    lease = await hold(storage, first)
    await indexed_of(storage, ANA)
    await storage.transact(lambda tx: tx.sessions.trim(lease, 3))
    assert [each.seq for each in await assert_index_is_true(storage, ANA)] == [4, 5, 6]
    await storage.transact(lambda tx: tx.sessions.release(lease))
    await take_turn(storage, first, "question 3")
    assert [each.seq for each in await assert_index_is_true(storage, ANA)] == [4, 5, 6, 7, 8]


async def test_a_reset_session_is_indexed_from_its_new_messages_on(storage: Storage) -> None:
    first = await begin(storage)
    await take_turn(storage, first)
    await indexed_of(storage, ANA)
    lease = await hold(storage, first)
    await storage.transact(lambda tx: tx.sessions.reset(lease, ts=later(1)))
    assert await assert_index_is_true(storage, ANA) == []
    await storage.transact(lambda tx: tx.sessions.release(lease))
    await take_turn(storage, first, "begin again")
    assert [each.seq for each in await assert_index_is_true(storage, ANA)] == [3, 4]


async def test_a_deleted_session_leaves_the_index(storage: Storage) -> None:
    first, second = await begin(storage, 1), await begin(storage, 2)
    await take_turn(storage, first)
    await take_turn(storage, second)
    await indexed_of(storage, ANA)
    lease = await hold(storage, first)
    await storage.transact(lambda tx: tx.sessions.delete(lease))
    assert {each.parent for each in await assert_index_is_true(storage, ANA)} == {second}


async def test_nothing_of_a_person_without_sessions_is_left_after_clearing(
    storage: Storage,
) -> None:
    await take_turn(storage, await begin(storage))
    await indexed_of(storage, ANA)

    def leftover(tx: Transaction) -> None:
        tx.index.append(messages_scope(ANA), "gone", passages_of([_message(1)]))

    await storage.transact(leftover)
    await storage.transact(lambda tx: tx.sessions.clear(ANA))
    assert len(await indexed_of(storage, ANA)) == 3, "there is a session: nothing is cleared"
    lease = await hold(storage, session_id(1))
    await storage.transact(lambda tx: tx.sessions.delete(lease))
    await storage.transact(lambda tx: tx.sessions.clear(ANA))
    assert await indexed_of(storage, ANA) == []


def _message(seq: int) -> Message:
    return Message(seq=seq, role=MessageRole.USER, content="left over", ts=T0, turn_id=TURN)
