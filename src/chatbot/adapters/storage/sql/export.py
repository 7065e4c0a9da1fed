"""All data of a database, for copying, imports and backups.

It is read in one snapshot, in batches, ordered by key. Each change is one transaction.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, select

from chatbot.adapters.storage.in_memory.records import InMemoryRecords
from chatbot.adapters.storage.json_values import Damaged
from chatbot.adapters.storage.sql.blobs import SqlBlobs
from chatbot.adapters.storage.sql.conversations import (
    conversations,
    find_conversation,
    put_conversation,
    remove_conversation,
)
from chatbot.adapters.storage.sql.database import Database, SqlSession, translated
from chatbot.adapters.storage.sql.journal import SqlJournal, stored_entries
from chatbot.adapters.storage.sql.journal_index_check import hidden_entries
from chatbot.adapters.storage.sql.records import SqlRecords
from chatbot.adapters.storage.sql.rows import (
    owner_of,
    record_of,
)
from chatbot.adapters.storage.sql.schema import current, require_current
from chatbot.adapters.storage.sql.tables import (
    sessions,
    stored_columns,
    table_of,
)
from chatbot.domain.chat import SessionId
from chatbot.domain.identity import Owner
from chatbot.domain.ports.blobs import Blob
from chatbot.domain.ports.export import (
    Change,
    Conversation,
    ExportTarget,
    Item,
    Unreadable,
    kind_of,
    put_entries,
    stored_entry,
    stored_record,
)
from chatbot.domain.ports.journal import JournalEntry, JournalKind, entries_of
from chatbot.domain.ports.records import AnyKind
from chatbot.domain.transaction import JOURNALS, KINDS

_ROWS_AT_ONCE = 500


class SqlExport(ExportTarget):
    """The data in the database of an `SqlStorage`, which may be in use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reader: Connection | None = None
        self._writer: Connection | None = None

    def __exit__(self, *exc_info: object) -> None:
        """Disconnect; the writer last, because it cleans up an SQLite file."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    def items(self) -> Generator[Item | Unreadable]:
        with translated(), self._database.connect(to_read=True) as connection, connection.begin():
            require_current(connection)
            for kind in KINDS:
                yield from _records(connection, kind)
            yield from _blobs(connection)
            yield from conversations(connection)
            for journal in JOURNALS:
                yield from entries_of(SqlJournal(SqlSession(connection)), journal)

    def entries(self, journal: JournalKind) -> Iterator[JournalEntry | Unreadable]:
        with translated(), self._database.connect(to_read=True) as connection, connection.begin():
            require_current(connection)
            yield from stored_entries(connection, journal)

    def hidden_entries(self, journal: JournalKind, /) -> Iterator[int]:
        with translated(), self._database.connect(to_read=True) as connection, connection.begin():
            require_current(connection)
            sql = SqlSession(connection)
            yield from hidden_entries(sql, journal, entries_of(SqlJournal(sql), journal))

    def session_keys(self) -> set[tuple[Owner, SessionId]]:
        if not self._is_made():
            return set()
        keys = select(sessions.c.owner, sessions.c.id).execution_options(yield_per=_ROWS_AT_ONCE)
        with translated(), self._database.connect(to_read=True) as connection:
            rows = connection.execute(keys)
            return {(owner_of(row.owner), SessionId(row.id)) for row in rows}

    def find(self, item: Item) -> Item | None:
        if self._reader is None:
            if not self._is_made():
                return _initial(item)
            self._reader = self._database.connect(to_read=True)
        with translated(), self._reader.begin():
            return _found(self._reader, item)

    def put(self, changes: Sequence[Change]) -> None:
        with self._writing() as connection:
            for change in changes:
                _put(connection, change)
            put_entries(changes, SqlJournal(SqlSession(connection)))

    def remove(self, owner: Owner, session_id: SessionId) -> None:
        with self._writing() as connection:
            remove_conversation(connection, owner, session_id)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One transaction, while no other export writes."""
        if self._writer is None:
            self._make()
            self._writer = self._database.connect()
            with translated(), self._writer.begin():
                self._database.require_usable(self._writer)
        with translated(), self._writer.begin():
            self._database.set_timeouts(self._writer)
            self._database.lock_schema(self._writer)
            yield self._writer

    def _is_made(self) -> bool:
        """Whether there are tables.

        Raises:
            StorageUnavailable: they are another application's, or of another version.
        """
        if not self._database.exists():
            return False
        with translated(), self._database.connect(to_read=True) as connection:
            if current(connection) is None:
                return False
            require_current(connection)
            return True

    def _make(self) -> None:
        """Create the tables, if there are none."""
        if not self._is_made():
            from chatbot.adapters.storage.sql.upgrading import upgrade  # noqa: PLC0415 - Alembic, 9 MiB

            self._database.create()
            upgrade(self._database)


def _blobs(connection: Connection) -> Iterator[Blob]:
    stored = SqlBlobs(SqlSession(connection))
    for name in stored.all():
        data = stored.get(name)
        if data is not None:
            yield Blob(name=name, data=data)


def _found(connection: Connection, item: Item) -> Item | None:
    if isinstance(item, Blob):
        data = SqlBlobs(SqlSession(connection)).get(item.name)
        return None if data is None else Blob(name=item.name, data=data)
    if isinstance(item, JournalEntry):
        return stored_entry(item, SqlJournal(SqlSession(connection)))
    if not isinstance(item, Conversation):
        return stored_record(SqlRecords(SqlSession(connection)), kind_of(item), item)
    return find_conversation(connection, item.session.owner, item.session.id)


def _initial(item: Item) -> Item | None:
    """The record that a new store has in this item's place."""
    if isinstance(item, Conversation | JournalEntry | Blob):
        return None
    return stored_record(InMemoryRecords({}), kind_of(item), item)


def _records(connection: Connection, kind: AnyKind) -> Iterator[Item | Unreadable]:
    keys = [table_of(kind).c[name] for name in kind.key]
    for row in connection.execute(select(*stored_columns(kind)).order_by(*keys)):
        try:
            yield record_of(kind, row)
        except Damaged as damage:
            key = " ".join(row[: len(keys)])
            yield Unreadable(name=f"{kind.singular} {key}", reason=str(damage))


def _put(connection: Connection, change: Change) -> None:
    """Replace a record or a conversation, if the existing one is as expected."""
    if isinstance(change.item, Conversation):
        put_conversation(connection, change.item, over=change.over)
    elif isinstance(change.item, Blob):
        SqlBlobs(SqlSession(connection)).put(change.item.name, change.item.data)
    elif not isinstance(change.item, JournalEntry):
        records = SqlRecords(SqlSession(connection))
        records.put(kind_of(change.item), change.item, expected=change.over)
