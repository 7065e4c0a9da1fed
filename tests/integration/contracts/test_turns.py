"""What every turn does, on every storage: by its own way, and by the repositories' methods."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from chatbot.domain.chat import (
    InterruptReason,
    Lease,
    Message,
    MessageRange,
    MessageRole,
    Question,
    Session,
    SessionId,
    TurnContext,
    TurnId,
)
from chatbot.domain.errors import NotFound, SessionBusy
from chatbot.domain.identity import FamilyId, Owner, UserId
from chatbot.domain.memory import Memory
from chatbot.domain.permissions import DEFAULT_ROLES
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import utc_now
from samples import (
    ANA,
    ODD_TEXTS,
    T0,
    new_message,
    user,
)
from sign_in import signed_in

BOB = Owner(kind="user", id="b" * 32)
ONE, TWO = SessionId("1" * 32), SessionId("2" * 32)
FIRST, SECOND = TurnId("a" * 32), TurnId("b" * 32)


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def question(
    text: str = "¿qué falta?",
    at: float = 100,
    *,
    session_id: SessionId = ONE,
    turn_id: TurnId = FIRST,
    owner: Owner = ANA,
    step: int = 4,
    limit: int = 8,
) -> Question:
    return Question(
        owner=owner,
        session_id=session_id,
        turn_id=turn_id,
        text=text,
        ts=later(at),
        summarized_step=step,
        history_limit=limit,
    )


class Turns:
    """Stores questions and answers, streamed or not, and reads the result."""

    def __init__(self, storage: Storage, *, by_repository: bool) -> None:
        self.storage, self._by_repository = storage, by_repository

    async def ask(self, asked: Question) -> TurnContext:
        if self._by_repository:
            context = await self.storage.transact(lambda tx: tx.sessions.store_question(asked))
        else:
            context = await self.storage.store_question(asked)
        stored = await self.storage.transact(
            lambda tx: tx.sessions.get(asked.owner, asked.session_id)
        )
        assert context.session == stored
        return context

    async def answer(
        self, lease: Lease, text: str, at: float, reason: InterruptReason | None = None
    ) -> None:
        if self._by_repository:
            await self.storage.transact(
                lambda tx: tx.sessions.store_answer(
                    lease,
                    new_message(lease, MessageRole.ASSISTANT, text, ts=later(at), reason=reason),
                )
            )
        else:
            await self.storage.store_answer(
                lease, new_message(lease, MessageRole.ASSISTANT, text, ts=later(at), reason=reason)
            )

    async def begin(self, session_id: SessionId = ONE, *, messages: int = 0) -> None:
        """A new session with alternating messages, a second apart."""
        new = Session(id=session_id, owner=ANA, title="", created_at=T0, updated_at=T0)
        await self.storage.transact(lambda tx: tx.sessions.create(new))
        for number in range(0, messages, 2):
            asked = question(f"text {number + 1}", number, session_id=session_id)
            context = await self.ask(asked)
            await self.answer(context.lease, f"text {number + 2}", number + 1)

    async def remember(
        self, memory: Memory, *, epoch: int, owner: Owner = ANA, session_id: SessionId = ONE
    ) -> bool:
        if self._by_repository:
            return await self.storage.transact(
                lambda tx: tx.sessions.put_memory(owner, session_id, memory, epoch=epoch)
            )
        return await self.storage.store_memory(owner, session_id, memory, epoch=epoch)

    async def memory(self) -> Memory:
        return await self.storage.transact(lambda tx: tx.sessions.memory(ANA, ONE))

    async def messages(self, session_id: SessionId = ONE) -> list[Message]:
        found = await self.storage.transact(
            lambda tx: tx.sessions.read(ANA, session_id, MessageRange(limit=99))
        )
        return list(found)

    async def session(self, session_id: SessionId = ONE) -> Session:
        return await self.storage.transact(lambda tx: tx.sessions.get(ANA, session_id))


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


@pytest.fixture(params=["own way", "by repository"])
def turns(request: pytest.FixtureRequest, storage: Storage) -> Turns:
    return Turns(storage, by_repository=request.param == "by repository")


def texts(messages: tuple[Message, ...] | list[Message]) -> list[str]:
    return [message.content for message in messages]


async def test_question_is_stored_and_returned_after_the_history(turns: Turns) -> None:
    await turns.begin(messages=4)
    context = await turns.ask(question())
    stored = await turns.messages()
    assert stored[-1] == Message(
        seq=5, role=MessageRole.USER, content="¿qué falta?", ts=later(100), turn_id=FIRST
    )
    assert context.history == tuple(stored)
    assert context.lease == Lease(owner=ANA, session_id=ONE, turn_id=FIRST)
    assert context.memory == Memory()
    session = await turns.session()
    assert (session.last_seq, session.message_count) == (5, 5)
    assert (session.title, session.updated_at) == ("text 1", later(100))


async def test_first_question_of_a_session_is_its_title(turns: Turns) -> None:
    await turns.begin()
    context = await turns.ask(question("a" * 61))
    assert texts(context.history) == ["a" * 61]
    assert (await turns.session()).title == "a" * 60


async def test_answer_is_stored_in_every_field_and_the_session_is_free(turns: Turns) -> None:
    await turns.begin()
    for number, reason in enumerate((None, *InterruptReason)):
        context = await turns.ask(question(at=2 * number, turn_id=TurnId(f"{number:032x}")))
        await turns.answer(context.lease, f"answer {number}", 2 * number + 1, reason)
        assert (await turns.messages())[-1] == Message(
            seq=2 * number + 2,
            role=MessageRole.ASSISTANT,
            content=f"answer {number}",
            ts=later(2 * number + 1),
            turn_id=TurnId(f"{number:032x}"),
            reason=reason,
        )
    session, count = await turns.session(), len(InterruptReason) + 1
    assert (session.message_count, session.updated_at) == (2 * count, later(2 * count - 1))


async def test_unusual_texts_are_returned_unchanged(turns: Turns) -> None:
    await turns.begin()
    for number, text in enumerate(ODD_TEXTS):
        context = await turns.ask(question(text, number))
        await turns.answer(context.lease, text, number)
        assert context.history[-1].content == text
    assert texts(await turns.messages()) == [text for text in ODD_TEXTS for _ in range(2)]


async def test_moments_are_exact_to_the_microsecond_in_any_zone(turns: Turns) -> None:
    await turns.begin()
    local = (T0 + timedelta(microseconds=1)).astimezone(tz=None)
    context = await turns.ask(replace(question(), ts=local))
    await turns.storage.store_answer(
        context.lease,
        new_message(context.lease, MessageRole.ASSISTANT, "yes", ts=local, reason=None),
    )
    assert {m.ts for m in await turns.messages()} == {local}
    again = await turns.ask(question())
    assert {m.ts for m in again.history[:2]} == {local}


@pytest.mark.parametrize(
    ("summarized_to", "limit", "first"),
    [(0, 20, 1), (3, 20, 1), (4, 20, 5), (7, 20, 5), (8, 20, 9), (0, 4, 8), (10, 1, 11)],
)
async def test_history_begins_after_the_last_complete_step_of_the_summary(
    turns: Turns, summarized_to: int, limit: int, first: int
) -> None:
    await turns.begin(messages=10)
    memory = Memory(summary="So far.", summarized_to=summarized_to)
    await turns.storage.transact(lambda tx: tx.sessions.put_memory(ANA, ONE, memory, epoch=0))
    context = await turns.ask(question(step=4, limit=limit))
    assert [m.seq for m in context.history] == list(range(first, 12))
    assert context.memory == replace(memory, version=1)


async def test_memory_and_messages_from_before_a_reset_are_gone(turns: Turns) -> None:
    await turns.begin(messages=2)
    memory = Memory(summary="So far.")
    await turns.storage.transact(lambda tx: tx.sessions.put_memory(ANA, ONE, memory, epoch=0))
    lease = (await turns.ask(question())).lease
    await turns.storage.transact(lambda tx: tx.sessions.reset(lease, ts=later(101)))
    await turns.answer(lease, "of before", 102)
    context = await turns.ask(question(at=103))
    assert context.memory == Memory()
    assert [m.seq for m in context.history] == [4, 5]


async def test_question_that_a_crash_left_open_gets_an_empty_answer_first(turns: Turns) -> None:
    await turns.begin(messages=2)
    lease = (await turns.ask(question("lost", 50))).lease
    await turns.storage.transact(lambda tx: tx.sessions.release(lease))
    context = await turns.ask(question("again", turn_id=SECOND, limit=3))
    assert [(m.seq, m.content, m.reason) for m in context.history] == [
        (3, "lost", None), (4, "", InterruptReason.CRASH), (5, "again", None),
    ]  # fmt: skip
    lost, crashed, again = (await turns.messages())[2:]
    assert (crashed.turn_id, again.turn_id) == (lost.turn_id, SECOND)


async def test_leased_session_is_busy_and_accepts_no_question(turns: Turns) -> None:
    await turns.begin()
    context = await turns.ask(question())
    with pytest.raises(SessionBusy):
        await turns.ask(question("me too", turn_id=SECOND))
    assert texts(await turns.messages()) == ["¿qué falta?"]
    await turns.answer(context.lease, "nothing", 101)
    assert len((await turns.ask(question("now", turn_id=SECOND))).history) == 3


async def test_of_concurrent_questions_one_is_stored(turns: Turns) -> None:
    await turns.begin()

    async def won(number: int) -> bool:
        try:
            await turns.ask(question(f"{number}", turn_id=TurnId(f"{number:032x}")))
        except SessionBusy:
            return False
        return True

    assert sum(await asyncio.gather(*map(won, range(20)))) == 1
    assert len(await turns.messages()) == 1


async def test_concurrent_turns_of_many_sessions_do_not_mix(turns: Turns) -> None:
    ids = [SessionId(f"{number:032x}") for number in range(20)]
    for each in ids:
        await turns.begin(each)

    async def talk(session_id: SessionId) -> None:
        for number in range(3):
            asked = question(f"{session_id} {number}", number, session_id=session_id)
            await turns.answer((await turns.ask(asked)).lease, session_id, number)

    await asyncio.gather(*map(talk, ids))
    for each in ids:
        assert texts(await turns.messages(each))[::2] == [f"{each} {n}" for n in range(3)]
        assert [m.seq for m in await turns.messages(each)] == [1, 2, 3, 4, 5, 6]


async def test_session_of_another_user_and_unknown_sessions_are_not_found(turns: Turns) -> None:
    await turns.begin(messages=2)
    odd = [SessionId(name) for name in ("", "ONE", "../" + "1" * 29, "1" * 31, "é" * 32)]
    for asked in (
        question(owner=BOB),
        question(owner=Owner(kind="client", id=ANA.id)),
        *(question(session_id=each) for each in (TWO, *odd)),
    ):
        with pytest.raises(NotFound):
            await turns.ask(asked)
    assert len(await turns.messages()) == 2


async def test_lost_lease_stores_no_answer(turns: Turns) -> None:
    await turns.begin()
    lease = (await turns.ask(question())).lease
    await turns.answer(lease, "once", 101)
    with pytest.raises(SessionBusy):
        await turns.answer(lease, "twice", 102)
    taken_over = (await turns.ask(question("next", 103, turn_id=SECOND))).lease
    with pytest.raises(SessionBusy):
        await turns.answer(lease, "late", 104)
    await turns.answer(taken_over, "in time", 105)
    assert texts(await turns.messages()) == ["¿qué falta?", "once", "next", "in time"]


async def test_answer_to_a_deleted_session_is_not_stored(turns: Turns) -> None:
    await turns.begin()
    lease = (await turns.ask(question())).lease
    await turns.storage.transact(lambda tx: tx.sessions.delete(lease))
    with pytest.raises(SessionBusy):
        await turns.answer(lease, "late", 101)
    with pytest.raises(NotFound):
        await turns.ask(question())


async def test_turn_continues_after_messages_appended_in_between(turns: Turns) -> None:
    await turns.begin()
    lease = (await turns.ask(question())).lease
    await turns.storage.transact(
        lambda tx: tx.sessions.append(
            lease, new_message(lease, MessageRole.ASSISTANT, "between", ts=later(101))
        )
    )
    await turns.answer(lease, "after", 102)
    assert [(m.seq, m.content) for m in await turns.messages()][1:] == [
        (2, "between"),
        (3, "after"),
    ]


async def test_caller_is_found_with_the_roles(storage: Storage) -> None:
    await storage.transact(lambda tx: tx.users.add(user(1)))
    found, roles, _ = await storage.find_caller(user(1).id)
    assert found == user(1)
    assert roles == await storage.transact(lambda tx: tx.roles.all())
    assert roles == DEFAULT_ROLES


@pytest.mark.parametrize("name", ["c" * 32, "", "ñ", "x" * 5000])
async def test_unknown_caller_is_none_and_the_roles_are_returned(
    storage: Storage, name: str
) -> None:
    found, roles, _ = await storage.find_caller(UserId(name))
    assert found is None
    assert roles == DEFAULT_ROLES


async def test_sign_in_of_a_caller_is_found_until_it_ends(storage: Storage) -> None:
    await storage.transact(lambda tx: tx.users.add(user(1)))
    families = [await signed_in(storage, user(1), utc_now) for _ in range(2)]
    for _ in range(2):  # the second time without reading
        found = [await storage.find_caller(user(1).id, each) for each in families]
        assert [each.is_signed_in for each in found] == [True, True]
    assert not (await storage.find_caller(user(1).id)).is_signed_in
    assert not (await storage.find_caller(user(1).id, FamilyId("0" * 32))).is_signed_in
    assert not (await storage.find_caller(UserId("another"), families[0])).is_signed_in
    await storage.transact(lambda tx: tx.refresh_families.end(families[0], at=utc_now()))
    found = [await storage.find_caller(user(1).id, each) for each in families]
    assert [each.is_signed_in for each in found] == [False, True]
    await storage.transact(lambda tx: tx.refresh_families.end_all(user(1).id, at=utc_now()))
    assert not (await storage.find_caller(user(1).id, families[1])).is_signed_in


async def test_change_of_a_caller_is_seen_at_once(storage: Storage) -> None:
    await storage.transact(lambda tx: tx.users.add(user(1)))
    for old, new in (("$argon2id$old", "one"), ("one", "two")):

        def change(tx: Transaction, old: str = old, new: str = new) -> None:
            tx.users.set_password_hash(user(1).id, old=old, new=new)

        await storage.transact(change)
        found, _, _ = await storage.find_caller(user(1).id)
        assert found is not None
        assert found.password_hash == new


async def test_of_memories_made_of_the_same_one_exactly_one_is_stored(turns: Turns) -> None:
    await turns.begin()
    for version in (0, 1):
        made = [Memory(summary=f"{version}.{n}", version=version) for n in range(8)]
        stored = await asyncio.gather(*(turns.remember(memory, epoch=0) for memory in made))
        (kept,) = [memory for memory, is_stored in zip(made, stored, strict=True) if is_stored]
        assert await turns.memory() == replace(kept, version=version + 1)


async def test_memory_of_an_earlier_epoch_or_of_a_missing_session_is_not_stored(
    turns: Turns,
) -> None:
    await turns.begin()
    assert await turns.remember(Memory(summary="before"), epoch=0)
    lease = await turns.storage.transact(lambda tx: tx.sessions.acquire(ANA, ONE, FIRST))
    await turns.storage.transact(lambda tx: tx.sessions.reset(lease, ts=later(1)))
    for version in (0, 1):
        late = Memory(summary="late", version=version)
        assert not await turns.remember(late, epoch=0)
        assert not await turns.remember(late, epoch=1, owner=BOB)
        assert not await turns.remember(late, epoch=0, session_id=TWO)
    assert not await turns.remember(Memory(version=1), epoch=1)
    assert await turns.memory() == Memory()
    assert await turns.remember(Memory(summary="after"), epoch=1)
