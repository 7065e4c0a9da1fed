"""Storage in the memory of this process: gone when it ends. For tests, demos and trying out."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from chatbot.adapters.storage.counter_table import CounterTable
from chatbot.adapters.storage.in_memory_records import InMemoryRecords
from chatbot.domain.chat import (
    Lease,
    Message,
    MessageRange,
    Session,
    SessionCursor,
    SessionId,
    TurnId,
)
from chatbot.domain.errors import Conflict, NotFound, SessionBusy
from chatbot.domain.identity import DEFAULT_ROLES, Owner, Role
from chatbot.domain.memory import Memory
from chatbot.domain.ports.counters import Addition, CounterKey, Counters, Counts
from chatbot.domain.ports.journal import Content, Journal, JournalEntry
from chatbot.domain.ports.session_log import SessionLog
from chatbot.domain.ports.storage import Found, Storage
from chatbot.domain.repositories.roles import ROLES
from chatbot.domain.transaction import Transaction

_MAX_NAMES = 10_000
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class _Kept:
    session: Session
    messages: list[Message] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    lease: Lease | None = None


class _Sessions(SessionLog):
    def __init__(self) -> None:
        self._kept: dict[tuple[Owner, SessionId], _Kept] = {}

    def create(self, session: Session) -> None:
        if (session.owner, session.id) in self._kept:
            raise Conflict("The session already exists.")
        self._kept[session.owner, session.id] = _Kept(session)

    def get(self, owner: Owner, session_id: SessionId) -> Session:
        return self._find(owner, session_id).session

    def page(
        self, owner: Owner, *, limit: int, after: SessionCursor | None = None
    ) -> Sequence[Session]:
        def order(updated_at: datetime, session_id: SessionId) -> tuple[timedelta, SessionId]:
            return (_EPOCH - updated_at, session_id)

        own = [kept.session for (whose, _), kept in self._kept.items() if whose == owner]
        own.sort(key=lambda session: order(session.updated_at, session.id))
        if after is not None:
            mark = order(after.updated_at, after.id)
            own = [session for session in own if order(session.updated_at, session.id) > mark]
        return own[:limit]

    def acquire(self, owner: Owner, session_id: SessionId, turn_id: TurnId) -> Lease:
        kept = self._find(owner, session_id)
        if kept.lease is not None:
            raise SessionBusy
        kept.lease = Lease(owner=owner, session_id=session_id, turn_id=turn_id)
        return kept.lease

    def release(self, lease: Lease) -> None:
        kept = self._kept.get((lease.owner, lease.session_id))
        if kept is not None and kept.lease == lease:
            kept.lease = None

    def append(self, lease: Lease, message: Message) -> Message:
        kept = self._held(lease)
        kept.session, numbered = kept.session.appended(message)
        kept.messages.append(numbered)
        return numbered

    def read(
        self, owner: Owner, session_id: SessionId, selected: MessageRange
    ) -> Sequence[Message]:
        kept = self._find(owner, session_id)
        base, end = kept.session.reset_at, len(kept.messages)
        if selected.before is not None:
            end = max(0, selected.before - 1 - base)
        between = kept.messages[max(0, selected.after - base) : end]
        if selected.oldest:
            return between[: selected.limit]
        return between[max(0, len(between) - selected.limit) :]

    def memory(self, owner: Owner, session_id: SessionId) -> Memory:
        return self._find(owner, session_id).memory

    def put_memory(
        self, owner: Owner, session_id: SessionId, memory: Memory, *, epoch: int
    ) -> bool:
        kept = self._kept.get((owner, session_id))
        if kept is None or kept.session.epoch != epoch or kept.memory.version != memory.version:
            return False
        kept.memory = replace(memory, version=memory.version + 1)
        return True

    def reset(self, lease: Lease, *, ts: datetime) -> None:
        kept = self._held(lease)
        kept.session = kept.session.was_reset(ts)
        kept.messages, kept.memory = [], Memory()

    def delete(self, lease: Lease) -> None:
        self._held(lease)
        del self._kept[lease.owner, lease.session_id]

    def _find(self, owner: Owner, session_id: SessionId) -> _Kept:
        try:
            return self._kept[owner, session_id]
        except KeyError as error:
            raise NotFound from error

    def _held(self, lease: Lease) -> _Kept:
        kept = self._kept.get((lease.owner, lease.session_id))
        if kept is None or kept.lease != lease:
            raise SessionBusy("The turn no longer holds the session.")
        return kept


class _Counters(Counters):
    def __init__(self) -> None:
        self._tables: dict[str, CounterTable] = {}

    def settle(
        self, reserved: Sequence[Addition], used: Sequence[Addition], *, now: datetime
    ) -> None:
        for addition in reserved:
            table = self._table(addition.key)
            table.subtract(addition.key.name, addition.expires_at, addition.amount)
        for addition in used:
            table = self._table(addition.key)
            table.add(addition.key.name, addition.expires_at, addition.amount, now=now)

    def read(self, keys: Sequence[CounterKey], *, now: datetime) -> Counts:
        return {key: self._table(key).read(key.name, now) for key in keys}

    def clear(self, keys: Sequence[CounterKey]) -> None:
        for key in keys:
            self._table(key).clear(key.name)

    def exclusive(self, keys: Sequence[CounterKey]) -> AbstractContextManager[Self]:  # noqa: ARG002 # work is never interleaved
        return nullcontext(self)

    def _table(self, key: CounterKey) -> CounterTable:
        return self._tables.setdefault(key.kind, CounterTable({}, max_names=_MAX_NAMES))


class _Journal(Journal):
    def __init__(self) -> None:
        self._entries: dict[str, list[JournalEntry]] = {}

    def append(
        self, journal: str, compose: Callable[[JournalEntry | None], Content], *, at: datetime
    ) -> JournalEntry:
        last = self.last(journal)
        content, seq = dict(compose(last)), 1 if last is None else last.seq + 1
        entry = JournalEntry(journal=journal, seq=seq, at=at, content=content)
        self._entries.setdefault(journal, []).append(entry)
        return entry

    def read(self, journal: str, *, after: int = 0, limit: int) -> Sequence[JournalEntry]:
        return self._entries.get(journal, [])[after : after + limit]

    def last(self, journal: str) -> JournalEntry | None:
        entries = self._entries.get(journal)
        return entries[-1] if entries else None


class InMemoryStorage(Storage):
    """Keeps everything in dictionaries. Work runs immediately and is never interleaved.

    Transactions are not rolled back: what was written before an exception stays.
    """

    def __init__(self, roles: Mapping[str, Role] = DEFAULT_ROLES) -> None:
        records = InMemoryRecords({ROLES: roles.values()})
        self._transaction = Transaction(
            sessions=_Sessions(), records=records, counters=_Counters(), journal=_Journal()
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Keep it: the next opening finds it again."""

    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        return work(self._transaction)

    def renewing(self, lease: Lease) -> AbstractContextManager[None]:  # noqa: ARG002 # it lasts as long as this does
        return nullcontext()

    async def check(self) -> None:
        """Always succeeds."""

    async def inspect(self) -> Sequence[str]:
        return []
