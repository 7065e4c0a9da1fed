"""A script of writes to a store, and the states that a failure may leave.

`SCRIPT` holds every kind of write. `Writer` does them on a store and keeps, beside what was
acknowledged, every history that may have happened; each is replayed on `InMemoryStorage`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.adapters.storage.json_files.check import Problem
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
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
from chatbot.domain.errors import Conflict, NotFound, StorageFailure
from chatbot.domain.identity import Owner, User, UserId
from chatbot.domain.memory import Memory
from chatbot.domain.transaction import Transaction
from repositories import here_and_now
from samples import new_message

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANA = Owner(kind="user", id="a" * 32)
TURN = TurnId("1" * 32)
ONE, TWO, THREE, NEW = (SessionId(f"{n:032x}") for n in (1, 2, 3, 99))

Part = Callable[[Transaction], object]
"""One durable write; writes to a session happen under a lease."""


@dataclass(frozen=True)
class Step:
    """Writes acknowledged together. `holds` and `frees`: a turn's lease begins and ends."""

    name: str
    parts: tuple[Part, ...]
    session_id: SessionId | None = None
    holds: bool = False
    frees: bool = False
    act: Callable[[JsonFileStorage], Awaitable[object]] | None = None
    """The store's own operation for all of them."""

    async def take(self, storage: JsonFileStorage) -> None:
        if self.act is None:
            await storage.transact(partial(_do, self, self.parts))
        else:
            await self.act(storage)


@dataclass(frozen=True)
class Everything:
    """Everything readable in a store, with the times of the last changes kept separately."""

    sessions: dict[SessionId, tuple[Session, tuple[Message, ...], Memory]]
    users: dict[UserId, User]
    times: dict[SessionId, datetime] = field(compare=False)

    def __str__(self) -> str:
        lines = [
            f"{session.id[-2:]} epoch {session.epoch} {session.title[:9]!r} {[f'{m.seq} {m.content[:9]}' for m in messages]}"
            f" {memory.summary[:9]!r}"
            for session, messages, memory in self.sessions.values()
        ]
        return "; ".join([*lines, *(f"{u.email} {u.password_hash}" for u in self.users.values())])


def lease_on(session_id: SessionId) -> Lease:
    return Lease(owner=ANA, session_id=session_id, turn_id=TURN)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def user(number: int) -> User:
    return User(
        id=UserId(f"{number:032x}"),
        email=f"u{number}@example.com",
        password_hash="old",
        roles=("employee",),
        department="sales",
        created_at=T0,
    )


# --- the writes ------------------------------------------------------------------------------


def _create(session_id: SessionId, seconds: int, tx: Transaction) -> None:
    now = at(seconds)
    tx.sessions.create(Session(id=session_id, owner=ANA, title="", created_at=now, updated_at=now))


def _append(
    session_id: SessionId, role: MessageRole, text: str, seconds: int, tx: Transaction
) -> None:
    tx.sessions.append(
        lease_on(session_id), new_message(lease_on(session_id), role, text, ts=at(seconds))
    )


def _mark_crash(session_id: SessionId, seconds: int, tx: Transaction) -> None:
    """Close a question that has no answer, as the next turn does."""
    last = tx.sessions.read(ANA, session_id, MessageRange(limit=1))
    if last and last[0].role is MessageRole.USER:
        lease, now = lease_on(session_id), at(seconds)
        tx.sessions.append(
            lease,
            new_message(lease, MessageRole.ASSISTANT, "", ts=now, reason=InterruptReason.CRASH),
        )


def _put_memory(session_id: SessionId, summary: str, tx: Transaction) -> None:
    epoch = tx.sessions.get(ANA, session_id).epoch
    version = tx.sessions.memory(ANA, session_id).version
    tx.sessions.put_memory(ANA, session_id, Memory(summary=summary, version=version), epoch=epoch)


def _retitle(session_id: SessionId, title: str, tx: Transaction) -> None:
    session = tx.sessions.get(ANA, session_id)
    tx.sessions.update(lease_on(session_id), replace(session, title=title))


def _trim(session_id: SessionId, upto: int, tx: Transaction) -> None:
    tx.sessions.trim(lease_on(session_id), upto)


def _reset(session_id: SessionId, seconds: int, tx: Transaction) -> None:
    tx.sessions.reset(lease_on(session_id), ts=at(seconds))


def _delete(session_id: SessionId, tx: Transaction) -> None:
    tx.sessions.delete(lease_on(session_id))


def _add_user(number: int, tx: Transaction) -> None:
    tx.users.add(user(number))


def _rehash(number: int, tx: Transaction) -> None:
    tx.users.set_password_hash(user(number).id, old="old", new="new")


def create(session_id: SessionId, seconds: int) -> Step:
    return Step("create", (partial(_create, session_id, seconds),))


def append(session_id: SessionId, seconds: int, text: str = "alone") -> Step:
    part = partial(_append, session_id, MessageRole.USER, text, seconds)
    return Step("append", (part,), session_id)


def turn(session_id: SessionId, seconds: int, asked: str, answered: str) -> tuple[Step, Step]:
    """The two transactions of a turn: question and answer."""
    question = Question(
        owner=ANA,
        session_id=session_id,
        turn_id=TURN,
        text=asked,
        ts=at(seconds),
        summarized_step=1,
        history_limit=9,
    )
    lease, end = lease_on(session_id), at(seconds + 1)
    mark = partial(_mark_crash, session_id, seconds)
    ask = partial(_append, session_id, MessageRole.USER, asked, seconds)
    answer = partial(_append, session_id, MessageRole.ASSISTANT, answered, seconds + 1)
    return (
        Step(
            "ask",
            (mark, ask),
            session_id,
            holds=True,
            act=lambda storage: storage.store_question(question),
        ),
        Step(
            "answer",
            (answer,),
            session_id,
            frees=True,
            act=lambda storage: storage.store_answer(
                lease, new_message(lease, MessageRole.ASSISTANT, answered, ts=end, reason=None)
            ),
        ),
    )


def put_memory(session_id: SessionId, summary: str) -> Step:
    return Step("put memory", (partial(_put_memory, session_id, summary),))


def retitle(session_id: SessionId, title: str) -> Step:
    return Step("title", (partial(_retitle, session_id, title),), session_id)


def trim(session_id: SessionId, upto: int) -> Step:
    return Step("trim", (partial(_trim, session_id, upto),), session_id)


def reset(session_id: SessionId, seconds: int) -> Step:
    return Step("reset", (partial(_reset, session_id, seconds),), session_id)


def delete(session_id: SessionId) -> Step:
    return Step("delete", (partial(_delete, session_id),), session_id)


SCRIPT = (
    create(ONE, 1),
    *turn(ONE, 2, "first ñ", "answer"),
    put_memory(ONE, "first"),
    append(ONE, 4, "alone " * 30),
    *turn(ONE, 5, "after a crash", "long " * 300),
    put_memory(ONE, "second " * 150),
    Step("add user", (partial(_add_user, 1),)),
    create(TWO, 7),
    retitle(TWO, "title of two"),
    *turn(TWO, 8, "question " * 60, "two"),
    put_memory(TWO, "of two"),
    retitle(ONE, "title " * 30),
    reset(ONE, 10),
    *turn(ONE, 11, "after the reset", "yes"),
    put_memory(ONE, "third"),
    retitle(ONE, "third title"),
    Step("new password", (partial(_rehash, 1),)),
    delete(TWO),
    trim(ONE, 7),
    create(THREE, 13),
    *turn(THREE, 14, "last", "one"),
)


# --- what may be there -----------------------------------------------------------------------


def everything(tx: Transaction) -> Everything:
    found, times = {}, {}
    for session in tx.sessions.page(ANA, limit=99):
        messages = tuple(tx.sessions.read(ANA, session.id, MessageRange(limit=999)))
        assert session == tx.sessions.get(ANA, session.id)
        times[session.id], timeless = session.updated_at, replace(session, updated_at=T0)
        found[session.id] = (timeless, messages, tx.sessions.memory(ANA, session.id))
    known = (tx.users.by_id(user(number).id) for number in range(1, 3))
    return Everything(found, {each.id: each for each in known if each is not None}, times)


def _do(step: Step, parts: Sequence[Part], tx: Transaction) -> None:
    """Execute some of the writes, under a lease if they need one."""
    if step.session_id is None:
        for part in parts:
            part(tx)
        return
    if not step.frees:
        tx.sessions.acquire(ANA, step.session_id, TURN)
    try:
        for part in parts:
            part(tx)
    except BaseException:
        tx.sessions.release(lease_on(step.session_id))
        raise
    if not step.holds:
        tx.sessions.release(lease_on(step.session_id))


History = tuple[tuple[Step, int], ...]
"""Steps, each with the number of its writes that took effect."""


@lru_cache(maxsize=20_000)
def replayed(history: History) -> Everything | type[Exception]:
    """The reference state after this history, or the error of its last step."""
    storage = InMemoryStorage()
    tx = storage._transaction
    for step, count in history:
        if step.frees:
            tx.sessions.acquire(ANA, step.session_id or ONE, TURN)
        try:
            _do(step, step.parts[:count], tx)
        except (NotFound, Conflict) as error:
            return type(error)
        if step.holds:
            tx.sessions.release(lease_on(step.session_id or ONE))
    return everything(tx)


class Writer:
    """Executes steps on a store and tracks the possible states."""

    def __init__(self, histories: Sequence[History] = ((),)) -> None:
        self.histories = list(histories)
        self._held: set[SessionId | None] = set()

    @property
    def possible(self) -> list[Everything]:
        found = (replayed(history) for history in self.histories)
        return [each for each in found if isinstance(each, Everything)]

    async def write(self, storage: JsonFileStorage, step: Step) -> bool:
        """Execute a step and return whether it was acknowledged."""
        if step.frees and step.session_id not in self._held:
            return False  # no question, no answer
        before = self.histories
        counts = range(1, len(step.parts) + 1)
        self._may_be([*before, *((*h, (step, n)) for h in before for n in counts)])
        self._held.discard(step.session_id)
        whole = [(*h, (step, len(step.parts))) for h in before]
        try:
            await step.take(storage)
        except StorageFailure:
            return False
        except (NotFound, Conflict) as error:
            self.histories = before  # what was seen, but not acknowledged, may be lost yet
            if type(error) not in map(replayed, whole):
                raise
            return False
        self._may_be(whole)
        if step.holds:
            self._held.add(step.session_id)
        return True

    def settle_on(self, found: Everything) -> None:
        """Narrow the possible states to the one that was found."""
        self._may_be([history for history in self.histories if replayed(history) == found])

    def _may_be(self, histories: list[History]) -> None:
        """Keep one history per state."""
        found: list[History] = []
        seen: list[Everything] = []
        for history in histories:
            outcome = replayed(history)
            if isinstance(outcome, Everything) and outcome not in seen:
                found.append(history)
                seen.append(outcome)
        assert found, "what the store did is possible in no history"
        self.histories = found


async def check(storage: JsonFileStorage, possible: Sequence[Everything]) -> None:
    """Check that the state is possible, nothing is damaged, and every session continues."""
    found = everything(here_and_now(storage))
    assert found in possible, "\n".join(
        [f"found {found}", *(f"may be {each}" for each in possible)]
    )
    assert {f.problem for f in await storage.findings()} <= {Problem.LEFTOVER}
    for session, messages, memory in found.sessions.values():
        await goes_on(storage, session, messages, memory)
    await storage.transact(partial(_create, NEW, 90))


def check_times(storage: JsonFileStorage, possible: Sequence[Everything]) -> None:
    """Check the time of each session's last change, or of a failed change after it."""
    for session_id, time in everything(here_and_now(storage)).times.items():
        times = {each.times[session_id] for each in possible if session_id in each.times}
        assert time in times or (len(times) > 1 and time > min(times))


async def goes_on(
    storage: JsonFileStorage, session: Session, messages: tuple[Message, ...], memory: Memory
) -> None:
    """Add a turn and a memory after the existing ones."""
    for step in turn(session.id, 80, "more", "and more"):
        await step.take(storage)
    await storage.transact(partial(_put_memory, session.id, "more"))
    now = everything(here_and_now(storage)).sessions[session.id]
    added = now[1][len(messages) :]
    assert now[1][: len(messages)] == messages
    is_open = bool(messages) and messages[-1].role is MessageRole.USER
    expected = ["", "more", "and more"] if is_open else ["more", "and more"]
    assert [m.content for m in added] == expected
    assert [m.seq for m in added] == [session.last_seq + 1 + n for n in range(len(added))]
    assert (now[2].summary, now[2].version) == ("more", memory.version + 1)
