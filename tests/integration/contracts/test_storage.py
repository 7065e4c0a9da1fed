"""One suite for every storage: a new backend is done when it passes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

import pytest

from chatbot.domain.chat import (
    InterruptReason,
    Lease,
    Message,
    MessageRange,
    MessageRole,
    Session,
    SessionCursor,
    SessionId,
    TurnId,
)
from chatbot.domain.errors import Conflict, Forbidden, LastAdministrator, NotFound, SessionBusy
from chatbot.domain.identity import Owner, User, UserId
from chatbot.domain.memory import Memory, MemoryItem, Origin, Setback, StructuredMemory
from chatbot.domain.permissions import DEFAULT_ROLES, Permission, Role
from chatbot.domain.ports.session_log import SessionLog
from chatbot.domain.ports.storage import Storage
from chatbot.domain.repositories.attempts import AttemptRepository
from chatbot.domain.repositories.users import Users
from chatbot.domain.throttling import WINDOW, AttemptKey, Throttle
from chatbot.domain.transaction import Transaction
from repositories import each_call_apart
from samples import (
    ANA,
    CLIENT,
    ODD_TEXTS,
    T0,
    new_message,
    user,
)

Given = TypeVar("Given")
Done = TypeVar("Done")

TURN = TurnId("1" * 32)
BOB = Owner(kind="user", id="b" * 32)


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def session_id(number: int) -> SessionId:
    return SessionId(f"{number:032x}")


def new_session(number: int = 1, owner: Owner = ANA, at: datetime = T0) -> Session:
    return Session(id=session_id(number), owner=owner, title="", created_at=at, updated_at=at)


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


@pytest.fixture
def transaction(storage: Storage) -> Iterator[Transaction]:
    with each_call_apart(storage) as transaction:
        yield transaction


@pytest.fixture
def sessions(transaction: Transaction) -> SessionLog:
    return transaction.sessions


@pytest.fixture
def users(transaction: Transaction) -> Users:
    return transaction.users


@pytest.fixture
def attempts(transaction: Transaction) -> AttemptRepository:
    return transaction.attempts


def held(sessions: SessionLog, number: int = 1, owner: Owner = ANA) -> Lease:
    """A new session and the lease on it."""
    sessions.create(new_session(number, owner))
    return sessions.acquire(owner, session_id(number), TURN)


def say(sessions: SessionLog, lease: Lease, count: int) -> list[Message]:
    """Append alternating messages, a second apart."""
    authors = (MessageRole.USER, MessageRole.ASSISTANT)
    return [
        sessions.append(lease, new_message(lease, authors[n % 2], f"text {n}", ts=later(n)))
        for n in range(count)
    ]


async def at_once(
    storage: Storage, work: Callable[[Transaction, Given], Done], given: Iterable[Given]
) -> list[Done]:
    """Run the work on each item in its own transaction, concurrently."""

    async def do(each: Given) -> Done:
        return await storage.transact(lambda tx: work(tx, each))

    return await asyncio.gather(*map(do, given))


class TestSessions:
    def test_new_session_is_returned_as_it_was_created(self, sessions: SessionLog) -> None:
        for owner in (ANA, CLIENT):
            sessions.create(new_session(7, owner, later(0.000001)))
            assert sessions.get(owner, session_id(7)) == new_session(7, owner, later(0.000001))

    def test_creating_a_session_again_does_not_touch_the_first(self, sessions: SessionLog) -> None:
        [message] = say(sessions, held(sessions), 1)
        with pytest.raises(Conflict):
            sessions.create(new_session())
        assert sessions.read(ANA, session_id(1), MessageRange(limit=9)) == [message]

    @pytest.mark.parametrize("raw", ["f" * 32, "", "..", "../x", "F" * 32, "1" * 31, "x" * 5000])
    def test_unknown_and_malformed_ids_are_not_found(self, sessions: SessionLog, raw: str) -> None:
        sessions.create(new_session())
        unknown = SessionId(raw)
        with pytest.raises(NotFound):
            sessions.get(ANA, unknown)
        with pytest.raises(NotFound):
            sessions.read(ANA, unknown, MessageRange(limit=1))
        with pytest.raises(NotFound):
            sessions.read(ANA, unknown, MessageRange(after=0, limit=1, oldest=True))
        with pytest.raises(NotFound):
            sessions.memory(ANA, unknown)
        with pytest.raises(NotFound):
            sessions.acquire(ANA, unknown, TURN)
        assert not sessions.put_memory(ANA, unknown, Memory(), epoch=0)

    @pytest.mark.parametrize(
        "stranger",
        [BOB, CLIENT, Owner(kind="client", id=ANA.id), Owner(kind="user", id="a" * 31)],
        ids=str,
    )
    def test_session_of_another_user_is_not_found(
        self, sessions: SessionLog, stranger: Owner
    ) -> None:
        lease = held(sessions)
        say(sessions, lease, 1)
        sessions.create(new_session(2, stranger))
        with pytest.raises(NotFound):
            sessions.get(stranger, session_id(1))
        with pytest.raises(NotFound):
            sessions.read(stranger, session_id(1), MessageRange(limit=1))
        with pytest.raises(NotFound):
            sessions.read(stranger, session_id(1), MessageRange(after=0, limit=1, oldest=True))
        with pytest.raises(NotFound):
            sessions.memory(stranger, session_id(1))
        with pytest.raises(NotFound):
            sessions.acquire(stranger, session_id(1), TURN)
        assert not sessions.put_memory(stranger, session_id(1), Memory(), epoch=0)
        assert [s.id for s in sessions.page(stranger, limit=9)] == [session_id(2)]

    def test_sessions_of_an_owner_are_counted(self, sessions: SessionLog) -> None:
        assert sessions.count(ANA) == 0
        lease = held(sessions)
        say(sessions, lease, 2)
        for number in (2, 3):
            sessions.create(new_session(number))
        sessions.create(new_session(1, BOB))
        assert [sessions.count(owner) for owner in (ANA, BOB, CLIENT)] == [3, 1, 0]
        sessions.delete(lease)
        sessions.put_memory(ANA, session_id(3), Memory(), epoch=0)
        assert sessions.count(ANA) == 2

    def test_unusual_owner_ids_do_not_collide(self, sessions: SessionLog) -> None:
        ids = ["ana", "Ana", "../ana", "a%6ea", "a/na", "añá", "CON", ".", "..", "a" * 64, "a b"]
        owners = [Owner(kind="user", id=name) for name in ids]
        for owner in owners:
            sessions.create(new_session(1, owner))
        for owner in owners:
            assert [s.owner for s in sessions.page(owner, limit=9)] == [owner]


class TestPages:
    def test_owner_without_sessions_has_an_empty_page(self, sessions: SessionLog) -> None:
        assert list(sessions.page(ANA, limit=5)) == []

    def test_newest_comes_first_and_ids_break_ties(self, sessions: SessionLog) -> None:
        for number, at in ((1, 0), (5, 2), (3, 2), (4, 2.000001), (2, 1)):
            sessions.create(new_session(number, at=later(at)))
        found = sessions.page(ANA, limit=9)
        assert [s.id for s in found] == [session_id(n) for n in (4, 3, 5, 2, 1)]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    def test_pages_join_without_gap_or_repetition(self, sessions: SessionLog, limit: int) -> None:
        for number in range(7):
            sessions.create(new_session(number, at=later(number // 2)))
        whole = list(sessions.page(ANA, limit=99))
        joined: list[Session] = []
        mark = None
        while page := sessions.page(ANA, limit=limit, after=mark):
            assert len(page) <= limit
            joined += page
            mark = SessionCursor(updated_at=page[-1].updated_at, id=page[-1].id)
        assert joined == whole
        assert len(whole) == 7

    def test_message_moves_its_session_to_the_front(self, sessions: SessionLog) -> None:
        lease = held(sessions, 1)
        sessions.create(new_session(2, at=later(1)))
        sessions.append(lease, new_message(lease, MessageRole.USER, "hello", ts=later(2.5)))
        first, second = sessions.page(ANA, limit=9)
        assert (first.id, second.id) == (session_id(1), session_id(2))
        assert first == sessions.get(ANA, session_id(1))
        assert (first.updated_at, first.title, first.message_count) == (later(2.5), "hello", 1)

    def test_mark_of_a_deleted_session_still_holds(self, sessions: SessionLog) -> None:
        for number in (1, 3):
            sessions.create(new_session(number, at=later(number)))
        sessions.delete(held(sessions, 2))
        mark = SessionCursor(updated_at=later(2), id=session_id(2))
        assert [s.id for s in sessions.page(ANA, limit=9, after=mark)] == [session_id(1)]


class TestMessages:
    def test_message_comes_back_in_every_field(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        sent = [
            sessions.append(
                lease, new_message(lease, MessageRole.USER, "hello", ts=later(0.000001))
            ),
            sessions.append(
                lease,
                new_message(
                    lease, MessageRole.ASSISTANT, "he", ts=later(1), reason=InterruptReason.CLIENT
                ),
            ),
        ]
        assert list(sessions.read(ANA, session_id(1), MessageRange(limit=9))) == sent
        assert sent == [
            Message(
                seq=1, role=MessageRole.USER, content="hello", ts=later(0.000001), turn_id=TURN
            ),
            Message(
                seq=2,
                role=MessageRole.ASSISTANT,
                content="he",
                ts=later(1),
                turn_id=TURN,
                reason=InterruptReason.CLIENT,
            ),
        ]

    def test_unusual_texts_are_returned_unchanged(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        for text in ODD_TEXTS:
            sessions.append(lease, new_message(lease, MessageRole.USER, text, ts=T0))
        found = sessions.read(ANA, session_id(1), MessageRange(limit=99))
        assert [message.content for message in found] == ODD_TEXTS
        oldest = sessions.read(ANA, session_id(1), MessageRange(after=0, limit=99, oldest=True))
        assert list(oldest) == list(found)

    def test_counts_and_title_follow_the_messages(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        sessions.append(lease, new_message(lease, MessageRole.ASSISTANT, "welcome", ts=later(1)))
        assert sessions.get(ANA, session_id(1)).title == ""
        sessions.append(lease, new_message(lease, MessageRole.USER, "ñ" * 100, ts=later(2)))
        sessions.append(lease, new_message(lease, MessageRole.USER, "second", ts=later(3)))
        found = sessions.get(ANA, session_id(1))
        assert (found.title, found.message_count, found.last_seq) == ("ñ" * 60, 3, 3)
        assert (found.created_at, found.updated_at, found.epoch) == (T0, later(3), 0)

    @pytest.mark.parametrize(
        ("limit", "before", "after", "expected"),
        [
            (3, None, 0, [8, 9, 10]),
            (99, None, 0, list(range(1, 11))),
            (10, None, 0, list(range(1, 11))),
            (3, 8, 0, [5, 6, 7]),
            (3, 2, 0, [1]),
            (3, 1, 0, []),
            (3, 999, 0, [8, 9, 10]),
            (99, None, 7, [8, 9, 10]),
            (2, None, 7, [9, 10]),
            (99, 9, 6, [7, 8]),
            (99, 5, 5, []),
            (99, None, 10, []),
            (99, None, 999, []),
        ],
    )
    def test_window_is_the_newest_between_two_numbers(
        self,
        sessions: SessionLog,
        limit: int,
        before: int | None,
        after: int,
        expected: list[int],
    ) -> None:
        say(sessions, held(sessions), 10)
        found = sessions.read(
            ANA, session_id(1), MessageRange(limit=limit, before=before, after=after)
        )
        assert [message.seq for message in found] == expected

    @pytest.mark.parametrize(
        ("after", "limit", "expected"),
        [(0, 3, [1, 2, 3]), (4, 2, [5, 6]), (8, 9, [9, 10]), (10, 9, []), (99, 9, [])],
    )
    def test_oldest_after_a_number(
        self, sessions: SessionLog, after: int, limit: int, expected: list[int]
    ) -> None:
        say(sessions, held(sessions), 10)
        found = sessions.read(
            ANA, session_id(1), MessageRange(after=after, limit=limit, oldest=True)
        )
        assert [message.seq for message in found] == expected

    def test_load_selects_messages_by_the_session_and_its_memory(
        self, sessions: SessionLog
    ) -> None:
        say(sessions, held(sessions), 10)
        assert sessions.put_memory(ANA, session_id(1), Memory(summarized_to=4), epoch=0)

        def select(session: Session, memory: Memory) -> MessageRange:
            return MessageRange(limit=3, after=memory.summarized_to, before=session.last_seq)

        found = sessions.load(ANA, session_id(1), select)
        assert [message.seq for message in found.messages] == [7, 8, 9]
        assert found.session == sessions.get(ANA, session_id(1))
        assert found.memory == sessions.memory(ANA, session_id(1))
        assert sessions.load(ANA, session_id(1)).messages == ()
        with pytest.raises(NotFound):
            sessions.load(ANA, session_id(2))

    def test_messages_of_several_sessions_are_read_with_the_next_ones(
        self, sessions: SessionLog
    ) -> None:
        for number in (1, 2):
            lease = held(sessions, number)
            say(sessions, lease, 4)
            sessions.release(lease)
        stranger = held(sessions, 3, Owner(kind="user", id="stranger"))
        say(sessions, stranger, 4)
        one, two, other = session_id(1), session_id(2), session_id(3)
        keys = [(one, 2), (two, 4), (two, 5), (two, 0), (other, 1), (SessionId("f" * 32), 1)]
        found = sessions.with_next(ANA, keys)
        seqs = {key: [message.seq for message in messages] for key, messages in found.items()}
        assert seqs == {(one, 2): [2, 3], (two, 4): [4]}
        every = sessions.read(ANA, one, MessageRange(limit=9))
        assert list(found[one, 2]) == list(every[1:3])
        assert sessions.with_next(ANA, []) == {}

    def test_new_session_has_no_messages(self, sessions: SessionLog) -> None:
        sessions.create(new_session())
        assert list(sessions.read(ANA, session_id(1), MessageRange(limit=9))) == []
        assert (
            list(sessions.read(ANA, session_id(1), MessageRange(after=0, limit=9, oldest=True)))
            == []
        )

    async def test_many_sessions_at_once_keep_their_own_messages(
        self, storage: Storage, sessions: SessionLog
    ) -> None:
        leases = [held(sessions, number) for number in range(20)]

        def talk(tx: Transaction, lease: Lease) -> None:
            for n in range(5):
                tx.sessions.append(
                    lease,
                    new_message(lease, MessageRole.USER, f"{lease.session_id} {n}", ts=later(n)),
                )

        await at_once(storage, talk, leases)
        for lease in leases:
            found = sessions.read(ANA, lease.session_id, MessageRange(limit=9))
            texts = [(message.seq, message.content) for message in found]
            assert texts == [(n + 1, f"{lease.session_id} {n}") for n in range(5)]


class TestLeases:
    def test_held_session_is_busy_until_released(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        assert (lease.owner, lease.session_id, lease.turn_id) == (ANA, session_id(1), TURN)
        for turn in (TURN, TurnId("2" * 32)):
            with pytest.raises(SessionBusy):
                sessions.acquire(ANA, session_id(1), turn)
        sessions.release(lease)
        again = sessions.acquire(ANA, session_id(1), TurnId("2" * 32))
        sessions.append(again, new_message(again, MessageRole.USER, "hello", ts=T0))

    @pytest.mark.parametrize("failure", [None, Forbidden("No.")])
    async def test_session_is_free_after_the_block_that_held_it(
        self, storage: Storage, sessions: SessionLog, failure: Forbidden | None
    ) -> None:
        def work(tx: Transaction) -> None:
            with tx.sessions.held(ANA, session_id(1), TURN) as lease:
                tx.sessions.append(lease, new_message(lease, MessageRole.USER, "hello", ts=T0))
                if failure is not None:
                    raise failure

        sessions.create(new_session())
        with nullcontext() if failure is None else pytest.raises(Forbidden):
            await storage.transact(work)
        sessions.acquire(ANA, session_id(1), TurnId("2" * 32))

    async def test_of_concurrent_acquirers_one_wins(
        self, storage: Storage, sessions: SessionLog
    ) -> None:
        def acquire(tx: Transaction, turn: TurnId) -> Lease | SessionBusy:
            try:
                return tx.sessions.acquire(ANA, session_id(1), turn)
            except SessionBusy as busy:
                return busy

        sessions.create(new_session())
        found = await at_once(storage, acquire, [TurnId(f"{n:032x}") for n in range(30)])
        assert sum(isinstance(each, Lease) for each in found) == 1
        assert sum(isinstance(each, SessionBusy) for each in found) == 29

    def test_sessions_are_held_independently(self, sessions: SessionLog) -> None:
        for lease in [held(sessions, number) for number in range(3)]:
            sessions.append(lease, new_message(lease, MessageRole.USER, "hello", ts=T0))

    def test_lost_lease_writes_nothing(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        say(sessions, lease, 2)
        before = sessions.get(ANA, session_id(1))
        sessions.release(lease)
        with pytest.raises(SessionBusy):
            sessions.append(lease, new_message(lease, MessageRole.USER, "late", ts=T0))
        with pytest.raises(SessionBusy):
            sessions.reset(lease, ts=T0)
        with pytest.raises(SessionBusy):
            sessions.delete(lease)
        assert sessions.get(ANA, session_id(1)) == before

    def test_releasing_an_old_lease_keeps_the_new_one(self, sessions: SessionLog) -> None:
        old = held(sessions)
        sessions.release(old)
        new = sessions.acquire(ANA, session_id(1), TurnId("2" * 32))
        sessions.release(old)
        with pytest.raises(SessionBusy):
            sessions.append(old, new_message(old, MessageRole.USER, "late", ts=T0))
        sessions.append(new, new_message(new, MessageRole.USER, "hello", ts=T0))

    def test_lease_never_taken_writes_nothing(self, sessions: SessionLog) -> None:
        sessions.create(new_session())
        invented = Lease(owner=ANA, session_id=session_id(1), turn_id=TURN)
        with pytest.raises(SessionBusy):
            sessions.append(invented, new_message(invented, MessageRole.USER, "hello", ts=T0))
        sessions.release(invented)

    def test_reading_does_not_wait_for_the_holder(self, sessions: SessionLog) -> None:
        [message] = say(sessions, held(sessions), 1)
        assert list(sessions.read(ANA, session_id(1), MessageRange(limit=9))) == [message]
        assert sessions.get(ANA, session_id(1)).message_count == 1


MEMORY = Memory(
    summary="Talked about\n“plans” \u2028 👍",
    structured=StructuredMemory(
        profile={"name": MemoryItem(value="Ana Ñ", origin=Origin.USER, sources=(1, 3)), "": MemoryItem(
            value="odd key", origin=Origin.ADMINISTRATOR
        )},
        preferences={"language": MemoryItem(value="es", origin=Origin.MODEL, sources=(2,))},
        facts=(MemoryItem(value="likes tea", origin=Origin.MODEL, sources=(4, 5)),),
        todos=(
            MemoryItem(value="b", origin=Origin.USER),
            MemoryItem(value="a", origin=Origin.MODEL, sources=(6,)),
        ),
    ),
    summarized_to=4,
    extracted_to=6,
    refused=(2, 3),
    prompts_after=3,
    summary_setback=Setback(failures=1, retry_at=8),
    extraction_setback=Setback(failures=6, retry_at=70),
)  # fmt: skip


def remembered(summary: str, version: int) -> Memory:
    return Memory(summary=summary, version=version)


class TestMemory:
    def test_new_session_remembers_nothing(self, sessions: SessionLog) -> None:
        sessions.create(new_session())
        assert sessions.memory(ANA, session_id(1)) == Memory()

    def test_memory_comes_back_in_every_field(self, sessions: SessionLog) -> None:
        sessions.create(new_session())
        assert sessions.put_memory(ANA, session_id(1), MEMORY, epoch=0)
        found = sessions.memory(ANA, session_id(1))
        assert found.version == 1
        assert found.summary == MEMORY.summary
        assert found.structured == MEMORY.structured
        assert list(found.structured.profile) == list(MEMORY.structured.profile)
        assert (found.summarized_to, found.extracted_to) == (4, 6)

    def test_memory_is_not_stored_over_a_newer_one(self, sessions: SessionLog) -> None:
        sessions.create(new_session())
        assert sessions.put_memory(ANA, session_id(1), remembered("first", 0), epoch=0)
        assert not sessions.put_memory(ANA, session_id(1), remembered("stale", 0), epoch=0)
        assert not sessions.put_memory(ANA, session_id(1), remembered("ahead", 2), epoch=0)
        assert sessions.memory(ANA, session_id(1)) == remembered("first", 1)
        assert sessions.put_memory(ANA, session_id(1), remembered("second", 1), epoch=0)
        assert sessions.memory(ANA, session_id(1)) == remembered("second", 2)

    def test_memory_of_another_epoch_is_not_stored(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        assert not sessions.put_memory(ANA, session_id(1), remembered("x", 0), epoch=1)
        sessions.reset(lease, ts=T0)
        assert not sessions.put_memory(ANA, session_id(1), remembered("x", 0), epoch=0)
        assert sessions.memory(ANA, session_id(1)) == Memory()
        assert sessions.put_memory(ANA, session_id(1), remembered("x", 0), epoch=1)

    def test_memory_of_a_deleted_session_is_not_stored(self, sessions: SessionLog) -> None:
        sessions.delete(held(sessions))
        assert not sessions.put_memory(ANA, session_id(1), Memory(), epoch=0)
        with pytest.raises(NotFound):
            sessions.memory(ANA, session_id(1))

    async def test_of_concurrent_writers_one_is_stored(
        self, storage: Storage, sessions: SessionLog
    ) -> None:
        def put(tx: Transaction, number: int) -> bool:
            memory = remembered(f"{number}", 0)
            return tx.sessions.put_memory(ANA, session_id(1), memory, epoch=0)

        sessions.create(new_session())
        stored = await at_once(storage, put, range(20))
        assert sum(stored) == 1
        winner = remembered(str(stored.index(True)), 1)
        assert sessions.memory(ANA, session_id(1)) == winner

    def test_memory_needs_no_lease_and_does_not_move_the_session(
        self, sessions: SessionLog
    ) -> None:
        lease = held(sessions)
        before = sessions.get(ANA, session_id(1))
        assert sessions.put_memory(ANA, session_id(1), MEMORY, epoch=0)
        assert sessions.get(ANA, session_id(1)) == before
        sessions.append(lease, new_message(lease, MessageRole.USER, "hello", ts=T0))


class TestReset:
    def test_reset_empties_everything_but_never_reuses_numbers(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        say(sessions, lease, 3)
        sessions.put_memory(ANA, session_id(1), MEMORY, epoch=0)
        sessions.reset(lease, ts=later(60))
        assert sessions.get(ANA, session_id(1)) == Session(
            id=session_id(1),
            owner=ANA,
            title="",
            created_at=T0,
            updated_at=later(60),
            message_count=0,
            last_seq=3,
            epoch=1,
        )
        assert list(sessions.read(ANA, session_id(1), MessageRange(limit=9))) == []
        assert sessions.memory(ANA, session_id(1)) == Memory()

    def test_session_continues_after_resets(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        say(sessions, lease, 3)
        sessions.reset(lease, ts=later(60))
        sessions.reset(lease, ts=later(61))
        message = sessions.append(
            lease, new_message(lease, MessageRole.USER, "again", ts=later(62))
        )
        assert message.seq == 4
        found = sessions.get(ANA, session_id(1))
        assert (found.title, found.message_count, found.last_seq, found.epoch) == ("again", 1, 4, 2)
        for before, after, seqs in ((None, 0, [4]), (4, 0, []), (5, 3, [4]), (None, 4, [])):
            window = sessions.read(
                ANA, session_id(1), MessageRange(limit=9, before=before, after=after)
            )
            assert [m.seq for m in window] == seqs
        assert sessions.read(ANA, session_id(1), MessageRange(after=1, limit=9, oldest=True)) == [
            message
        ]


class TestDelete:
    def test_session_and_lease_are_gone(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        say(sessions, lease, 3)
        sessions.put_memory(ANA, session_id(1), MEMORY, epoch=0)
        sessions.delete(lease)
        with pytest.raises(NotFound):
            sessions.get(ANA, session_id(1))
        with pytest.raises(NotFound):
            sessions.acquire(ANA, session_id(1), TURN)
        with pytest.raises(SessionBusy):
            sessions.append(lease, new_message(lease, MessageRole.USER, "late", ts=T0))
        with pytest.raises(SessionBusy):
            sessions.delete(lease)
        sessions.release(lease)
        assert list(sessions.page(ANA, limit=9)) == []

    def test_other_sessions_stay(self, sessions: SessionLog) -> None:
        lease = held(sessions, 1)
        [message] = say(sessions, held(sessions, 2), 1)
        sessions.delete(lease)
        assert [s.id for s in sessions.page(ANA, limit=9)] == [session_id(2)]
        assert list(sessions.read(ANA, session_id(2), MessageRange(limit=9))) == [message]


class TestUsers:
    def test_user_is_found_by_id_and_email_in_every_field(self, users: Users) -> None:
        ana = User(
            id=UserId("a" * 32),
            email="ana@example.com",
            password_hash="$argon2id$v=19$…",
            roles=("admin", "employee"),
            department="Ventas 🚀",
            created_at=later(0.000001),
            is_active=False,
            token_version=7,
        )
        users.add(user(2))
        users.add(ana)
        assert users.by_id(ana.id) == ana
        assert users.by_email("ana@example.com") == ana

    def test_unknown_user_is_none(self, users: Users) -> None:
        assert users.by_id(UserId("c" * 32)) is None
        assert users.by_email("nobody@example.com") is None
        users.add(user())
        assert users.by_id(UserId("c" * 32)) is None
        assert users.by_email("nobody@example.com") is None

    def test_email_address_is_unique(self, users: Users) -> None:
        users.add(user(1, email="a@example.com"))
        with pytest.raises(Conflict):
            users.add(user(2, email="a@example.com"))
        assert users.by_id(user(2).id) is None

    def test_first_administrator_is_known_from_others(self, users: Users) -> None:
        users.add(user(1, roles=("employee",)))
        users.require_no_administrator(DEFAULT_ROLES)
        users.add(replace(user(2, roles=("admin",)), is_active=False))
        with pytest.raises(Conflict):
            users.require_no_administrator(DEFAULT_ROLES)

    async def test_of_concurrent_first_writes_one_wins(
        self, storage: Storage, users: Users
    ) -> None:
        def is_first(tx: Transaction, admin: User) -> bool:
            try:
                tx.users.lock()
                tx.users.require_no_administrator(DEFAULT_ROLES)
                tx.users.add(admin)
            except Conflict:
                return False
            return True

        admins = [user(number, roles=("admin",)) for number in range(20)]
        won = await at_once(storage, is_first, admins)
        assert sum(won) == 1
        winner = admins[won.index(True)]
        assert users.by_email(winner.email) == winner

    def test_password_hash_is_replaced_if_it_is_the_old_one(self, users: Users) -> None:
        for number in (1, 2, 3):
            users.add(user(number))
        users.set_password_hash(user(2).id, old="$argon2id$old", new="$argon2id$new")
        users.set_password_hash(user(2).id, old="$argon2id$old", new="$argon2id$late")
        users.set_password_hash(UserId("c" * 32), old="$argon2id$old", new="x")
        hashes = [found and found.password_hash for found in [
            users.by_id(user(number).id) for number in (1, 2, 3)
        ]]  # fmt: skip
        assert hashes == ["$argon2id$old", "$argon2id$new", "$argon2id$old"]
        assert [each.token_version for each in users.all()] == [0, 1, 0]

    def test_users_are_listed_by_email_address(self, users: Users) -> None:
        people = [
            user(1, email="ñ@example.com"),
            user(2, email="b@example.com"),
            user(3, email="z@x.y"),
        ]
        assert users.all() == []
        for each in people:
            users.add(each)
        assert [each.email for each in users.all()] == ["b@example.com", "z@x.y", "ñ@example.com"]
        assert users.all()[0] == people[1]

    def test_schemes_of_passwords_are_counted(self, users: Users) -> None:
        assert dict(users.password_schemes()) == {}
        for number, password_hash in enumerate(["$a$m=1$s$d", "$a$m=1$t$e", "$b$m=2$s$d", "odd"]):
            users.add(replace(user(number), password_hash=password_hash))
        assert dict(users.password_schemes()) == {"$a$m=1": 2, "$b$m=2": 1, "odd": 1}

    def test_user_is_replaced_if_it_is_the_old_one(self, users: Users) -> None:
        for number in (1, 2):
            users.add(user(number))
        changed = replace(user(1), is_active=False, token_version=3, password_hash="new")
        users.replace(changed, old=user(1), roles=DEFAULT_ROLES)
        assert users.by_id(user(1).id) == changed
        assert users.by_email(user(1).email) == changed
        assert users.by_id(user(2).id) == user(2)
        for old in (user(1), user(3)):
            with pytest.raises(Conflict):
                users.replace(replace(old, department="late"), old=old, roles=DEFAULT_ROLES)
        assert users.by_id(user(1).id) == changed
        assert users.by_id(user(3).id) is None

    def test_last_administrator_who_lasts_is_kept(self, users: Users) -> None:
        managing = {
            name: Role(name=name, permissions=frozenset({permission}))
            for name, permission in (
                ("people", Permission.USERS_MANAGE),
                ("rights", Permission.ROLES_MANAGE),
            )
        }
        roles = {**DEFAULT_ROLES, **managing}
        admin, other = user(1, roles=("employee", "admin")), user(2, roles=("rights", "people"))
        users.add(admin)
        users.add(replace(other, is_active=False))
        users.add(replace(user(3, roles=("admin",)), expires_at=T0 + timedelta(days=9)))
        users.add(replace(user(4, roles=("admin",)), one_time_until=T0 + timedelta(days=9)))
        users.add(replace(user(5, roles=("admin",)), password_hash=""))
        users.add(user(6, roles=("people",)))
        ending = [
            replace(admin, is_active=False),
            replace(admin, roles=("employee", "people")),
            replace(admin, expires_at=T0 + timedelta(days=9)),
            replace(admin, one_time_until=T0 + timedelta(days=9)),
        ]
        for change in ending:
            with pytest.raises(LastAdministrator):
                users.replace(change, old=admin, roles=roles)
        users.replace(user(6), old=user(6, roles=("people",)), roles=roles)
        users.replace(other, old=replace(other, is_active=False), roles=roles)
        users.replace(ending[0], old=admin, roles=roles)
        assert users.by_id(admin.id) == replace(admin, is_active=False)

    async def test_concurrent_disabling_keeps_one_user_with_the_role(
        self, storage: Storage, users: Users
    ) -> None:
        admins = [user(number, roles=("admin",)) for number in range(6)]
        for admin in admins:
            users.add(admin)

        def was_disabled(tx: Transaction, admin: User) -> bool:
            try:
                disabled = replace(admin, is_active=False)
                tx.users.lock()
                tx.users.replace(disabled, old=admin, roles=tx.roles.all())
            except Conflict:
                return False
            return True

        assert sum(await at_once(storage, was_disabled, admins)) == 5
        assert sum(each.is_active for each in users.all()) == 1

    def test_roles_are_returned_by_name(self, transaction: Transaction) -> None:
        roles = transaction.roles.all()
        assert roles == DEFAULT_ROLES


def throttle(number: int = 1, allowed: int = 3) -> Throttle:
    """A throttle; numbers 1 to 9 share a key prefix."""
    return Throttle(key=AttemptKey(f"{number:064x}"), allowed=allowed)


ELSEWHERE = Throttle(key=AttemptKey("f" * 64), allowed=3)


class TestAttempts:
    def test_attempts_are_counted_until_the_limit(self, attempts: AttemptRepository) -> None:
        waits = [attempts.count([throttle()], at=later(n)).total_seconds() for n in range(5)]
        assert waits == [0, 0, 0, 29, 28]
        assert attempts.count([throttle()], at=later(32)) == timedelta(0)
        assert attempts.count([throttle()], at=later(33)) == timedelta(seconds=59)

    def test_moments_are_exact(self, attempts: AttemptRepository) -> None:
        for _ in range(3):
            attempts.count([throttle()], at=later(0.000001))
        assert attempts.count([throttle()], at=later(1)) == timedelta(seconds=29, microseconds=1)

    @pytest.mark.parametrize("other", [throttle(2, 99), ELSEWHERE])
    def test_attempt_counts_for_all_or_none(
        self, attempts: AttemptRepository, other: Throttle
    ) -> None:
        for _ in range(3):
            assert not attempts.count([throttle(), other], at=T0)
        for pair in ([throttle(), other], [other, throttle()]):
            for _ in range(9):
                assert attempts.count(pair, at=T0) == timedelta(seconds=30)
        strict = Throttle(key=other.key, allowed=4)
        assert not attempts.count([strict], at=T0)
        assert attempts.count([strict], at=T0)

    def test_attempts_of_others_do_not_count(self, attempts: AttemptRepository) -> None:
        for number in range(9):
            attempts.count([throttle(number << 248)], at=T0)
            attempts.count([throttle(number)], at=T0)
        assert not attempts.count([throttle(9)], at=T0)
        assert not attempts.count([throttle(1)], at=T0)

    def test_expired_window_no_longer_counts(self, attempts: AttemptRepository) -> None:
        for _ in range(3):
            attempts.count([throttle()], at=T0)
        for _ in range(3):
            assert not attempts.count([throttle()], at=T0 + WINDOW)
        assert attempts.count([throttle()], at=T0 + WINDOW)

    def test_withdrawn_attempt_is_not_counted(self, attempts: AttemptRepository) -> None:
        for n in range(9):
            assert not attempts.count([throttle(), ELSEWHERE], at=later(n))
            attempts.withdraw([throttle(), ELSEWHERE], at=later(n))
        attempts.withdraw([throttle(), ELSEWHERE, throttle(7)], at=T0)

    def test_withdrawing_one_of_two_simultaneous_attempts_keeps_the_other(
        self, attempts: AttemptRepository
    ) -> None:
        for _ in range(3):
            attempts.count([throttle()], at=T0)
        attempts.withdraw([throttle()], at=T0)
        attempts.withdraw([throttle()], at=later(1))
        assert not attempts.count([throttle()], at=T0)
        assert attempts.count([throttle()], at=T0)

    def test_clearing_a_throttle_affects_no_other_throttle(
        self, attempts: AttemptRepository
    ) -> None:
        for n in range(3):
            attempts.count([throttle(1), throttle(2)], at=later(n))
        attempts.clear(throttle(1).key)
        attempts.clear(throttle(7).key)
        assert not attempts.count([throttle(1)], at=later(3))
        assert attempts.count([throttle(2)], at=later(3))

    async def test_concurrent_attempts_do_not_exceed_the_limit(self, storage: Storage) -> None:
        def was_counted(tx: Transaction, n: int) -> bool:
            return not tx.attempts.count([throttle(), ELSEWHERE], at=later(-n / 1000))

        counted = await at_once(storage, was_counted, range(50))
        assert sum(counted) == 3


class TestStorage:
    async def test_open_storage_is_ready(self, storage: Storage) -> None:
        await storage.check()

    async def test_work_done_is_returned(self, storage: Storage) -> None:
        assert await storage.transact(lambda tx: "done") == "done"

    async def test_transactions_see_each_other(self, storage: Storage) -> None:
        lease = await storage.transact(lambda tx: held(tx.sessions))
        await storage.transact(lambda tx: say(tx.sessions, lease, 1))
        await storage.transact(lambda tx: tx.users.add(user()))
        found = await storage.transact(
            lambda tx: (tx.sessions.get(ANA, session_id(1)), tx.users.by_id(user().id))
        )
        assert found[0].message_count == 1
        assert found[1] == user()

    @pytest.mark.parametrize("error", [NotFound("gone"), ZeroDivisionError("a bug")], ids=repr)
    async def test_exception_of_the_work_reaches_the_caller_and_the_store_stays_usable(
        self, storage: Storage, error: Exception
    ) -> None:
        def fail(tx: Transaction) -> None:
            raise error

        for _ in range(20):
            with pytest.raises(type(error)) as caught:
                await storage.transact(fail)
            assert caught.value is error
        await storage.transact(lambda tx: tx.sessions.create(new_session()))
        await storage.check()

    async def test_stored_data_survives_closing_and_opening(self, closed_storage: Storage) -> None:
        def fill(tx: Transaction) -> tuple[list[Message], Session]:
            sent = say(tx.sessions, held(tx.sessions), 3)
            tx.sessions.put_memory(ANA, session_id(1), MEMORY, epoch=0)
            tx.users.add(user())
            for _ in range(3):
                tx.attempts.count([throttle()], at=T0)
            return sent, tx.sessions.get(ANA, session_id(1))

        async with closed_storage:
            sent, stored = await closed_storage.transact(fill)
        async with closed_storage:
            with each_call_apart(closed_storage) as tx:
                assert tx.sessions.get(ANA, session_id(1)) == stored
                assert list(tx.sessions.read(ANA, session_id(1), MessageRange(limit=9))) == sent
                assert tx.sessions.memory(ANA, session_id(1)).summary == MEMORY.summary
                assert tx.users.by_id(user().id) == user()
                assert tx.attempts.count([throttle()], at=T0) == timedelta(seconds=30)
