"""Random histories of two sessions, one by each way of a turn, which must look the same."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.domain.chat import (
    InterruptReason,
    Lease,
    Message,
    MessageRange,
    MessageRole,
    Question,
    Session,
    SessionId,
    TurnId,
)
from chatbot.domain.errors import ChatbotError, NotFound
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from samples import (
    ANA,
    ODD_TEXTS,
    T0,
    new_message,
)

EXAMPLES, STEPS = 20, 16
BOB = Owner(kind="user", id="b" * 32)
Done = TypeVar("Done")


class History:
    """A session written in only one way; its results do not contain the session id."""

    def __init__(self, storage: Storage, number: int, *, by_repository: bool) -> None:
        self.storage, self._by_repository = storage, by_repository
        self._id = SessionId(f"{2 * number + by_repository:032x}")
        self._leases = [self._lease(ANA, 0)]
        self._seconds = count()

    def _lease(self, owner: Owner, turn: int) -> Lease:
        return Lease(owner=owner, session_id=self._id, turn_id=TurnId(f"{turn:032x}"))

    def _chosen(self, age: int) -> Lease:
        """The lease of the last turn, or of an earlier one."""
        return self._leases[max(len(self._leases) - 1 - age, 0)]

    async def create(self) -> None:
        new = Session(id=self._id, owner=ANA, title="", created_at=T0, updated_at=T0)
        await self.storage.transact(lambda tx: tx.sessions.create(new))

    async def ask(self, text: str, step: int, limit: int, owner: Owner) -> object:
        lease = self._lease(owner, len(self._leases))
        ts = T0 + timedelta(seconds=next(self._seconds), microseconds=len(text))
        asked = Question(
            owner=owner, session_id=self._id, turn_id=lease.turn_id, text=text, ts=ts,
            summarized_step=step, history_limit=limit,
        )  # fmt: skip
        context = await self._by(
            lambda: self.storage.store_question(asked),
            lambda tx: tx.sessions.store_question(asked),
        )
        assert context.lease == lease
        self._leases.append(lease)
        session = replace(context.session, id=SessionId(""))
        return session, context.memory, context.history

    async def answer(self, text: str, reason: InterruptReason | None, age: int) -> None:
        lease, ts = self._chosen(age), T0 + timedelta(seconds=next(self._seconds))
        await self._by(
            lambda: self.storage.store_answer(
                lease, new_message(lease, MessageRole.ASSISTANT, text, ts=ts, reason=reason)
            ),
            lambda tx: tx.sessions.store_answer(
                lease, new_message(lease, MessageRole.ASSISTANT, text, ts=ts, reason=reason)
            ),
        )

    async def _by(
        self, own_way: Callable[[], Awaitable[Done]], work: Callable[[Transaction], Done]
    ) -> Done:
        return await (self.storage.transact(work) if self._by_repository else own_way())

    async def append(self, role: MessageRole, text: str, age: int) -> Message:
        lease, ts = self._chosen(age), T0 + timedelta(seconds=next(self._seconds))
        return await self.storage.transact(
            lambda tx: tx.sessions.append(lease, new_message(lease, role, text, ts=ts))
        )

    async def release(self, age: int) -> None:
        """Abandon the lease as if the process had died, if it is the current one."""
        await self.storage.transact(lambda tx: tx.sessions.release(self._chosen(age)))

    async def retitle(self, title: str, age: int) -> Session:
        def work(tx: Transaction) -> Session:
            session = tx.sessions.get(ANA, self._id)
            return tx.sessions.update(self._chosen(age), replace(session, title=title))

        return replace(await self.storage.transact(work), id=SessionId(""))

    async def reset(self, age: int) -> None:
        ts = T0 + timedelta(seconds=next(self._seconds))
        await self.storage.transact(lambda tx: tx.sessions.reset(self._chosen(age), ts=ts))

    async def delete(self, age: int) -> None:
        await self.storage.transact(lambda tx: tx.sessions.delete(self._chosen(age)))

    async def remember(self, memory: Memory, *, is_late: bool) -> bool:
        """Store consolidated memory; outdated if others stored a newer version meanwhile."""

        def read(tx: Transaction) -> tuple[Memory, int]:
            version = 0 if is_late else tx.sessions.memory(ANA, self._id).version
            epoch = 0 if is_late else tx.sessions.get(ANA, self._id).epoch
            return replace(memory, version=version), epoch

        new, epoch = await self.storage.transact(read)
        return await self._by(
            lambda: self.storage.store_memory(ANA, self._id, new, epoch=epoch),
            lambda tx: tx.sessions.put_memory(ANA, self._id, new, epoch=epoch),
        )

    async def everything(self) -> object:
        """Everything stored, and whether the session is free."""

        def work(tx: Transaction) -> object:
            sessions = tx.sessions
            session = replace(sessions.get(ANA, self._id), id=SessionId(""))
            return (
                session,
                sessions.memory(ANA, self._id),
                [*sessions.read(ANA, self._id, MessageRange(limit=999))],
            )

        try:
            return await self.storage.transact(work)
        except NotFound:
            return NotFound


Step = Callable[[History], Awaitable[object]]
texts = st.sampled_from([*ODD_TEXTS, "a", "b" * 61]) | st.text("aé\n ", max_size=9)
ages = st.sampled_from([0, 0, 0, 0, 1, 2])
memories = st.builds(
    Memory,
    summary=texts,
    summarized_to=st.integers(0, 9),
    refused=st.lists(st.integers(1, 9), max_size=2, unique=True).map(tuple),
    prompts_after=st.integers(0, 9),
)


def asked(text: str, step: int, limit: int, owner: Owner) -> Step:
    return lambda history: history.ask(text, step, limit, owner)


def answered(text: str, reason: InterruptReason | None, age: int) -> Step:
    return lambda history: history.answer(text, reason, age)


def appended(role: MessageRole, text: str, age: int) -> Step:
    return lambda history: history.append(role, text, age)


def remembered(memory: Memory, is_late: bool) -> Step:
    return lambda history: history.remember(memory, is_late=is_late)


def retitled(title: str, age: int) -> Step:
    return lambda history: history.retitle(title, age)


owners = st.sampled_from([ANA, ANA, ANA, ANA, BOB])
asking = st.builds(asked, texts, st.integers(1, 4), st.integers(1, 9), owners)
answering = st.builds(answered, texts, st.sampled_from([None, *InterruptReason]), ages)
others = st.one_of(
    st.builds(appended, st.sampled_from(MessageRole), texts, ages),
    st.builds(retitled, st.sampled_from(["title", "b" * 61]), ages),
    st.builds(remembered, memories, st.booleans()),
    ages.map(lambda age: lambda history: history.release(age)),
    ages.map(lambda age: lambda history: history.reset(age)),
    st.just(lambda history: history.delete(0)),
)
histories = st.lists(asking | answering | asking | answering | others, max_size=STEPS)


async def outcome(step: Step, history: History) -> object:
    try:
        return await step(history)
    except ChatbotError as error:
        return type(error), str(error)


async def compare(storage: Storage, number: int, steps: Sequence[Step]) -> None:
    ways = [History(storage, number, by_repository=each) for each in (False, True)]
    for way in ways:
        await way.create()
    for step in steps:
        one, other = [await outcome(step, way) for way in ways]
        assert one == other
        one, other = [await way.everything() for way in ways]
        assert one == other


def test_streaming_and_non_streaming_turns_store_the_same(closed_storage: Storage) -> None:
    numbers = count()
    with asyncio.Runner() as runner:
        runner.run(closed_storage.__aenter__())

        @settings(max_examples=EXAMPLES)
        @given(histories)
        def check(steps: list[Step]) -> None:
            runner.run(compare(closed_storage, next(numbers), steps))

        try:
            check()
        finally:
            runner.run(closed_storage.__aexit__(None, None, None))
