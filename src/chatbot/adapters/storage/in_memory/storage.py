"""Storage in dictionaries."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Self

from chatbot.adapters.storage.counter_table import CounterTable
from chatbot.adapters.storage.in_memory.records import InMemoryRecords
from chatbot.adapters.storage.in_memory.session_log import InMemorySessionLog
from chatbot.domain.chat import Lease
from chatbot.domain.identity import DEFAULT_ROLES, Role
from chatbot.domain.ports.counters import Addition, CounterKey, Counters, Counts
from chatbot.domain.ports.journal import Content, Journal, JournalEntry
from chatbot.domain.ports.storage import Found, Storage
from chatbot.domain.repositories.roles import ROLES
from chatbot.domain.transaction import Transaction

_MAX_NAMES = 10_000


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
            sessions=InMemorySessionLog(), records=records, counters=_Counters(), journal=_Journal()
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
