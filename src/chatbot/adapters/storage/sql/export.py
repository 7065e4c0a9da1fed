"""Everything in a database, to be moved, imported into or backed up.

All of it is read in one snapshot, in the order of the keys and some rows at a time; each change is
one transaction.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, delete, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError

from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.in_memory_records import InMemoryRecords
from chatbot.adapters.storage.json_values import Damaged
from chatbot.adapters.storage.sql.database import Database, translated
from chatbot.adapters.storage.sql.journal import SqlJournal
from chatbot.adapters.storage.sql.records import SqlRecords
from chatbot.adapters.storage.sql.rows import (
    message_of,
    message_values,
    owner_key,
    owner_of,
    record_of,
    session_of,
    session_values,
)
from chatbot.adapters.storage.sql.schema import current, require_current
from chatbot.adapters.storage.sql.sql_session import SqlSession
from chatbot.adapters.storage.sql.tables import (
    memories,
    messages,
    sessions,
    table_of,
    unix_now,
)
from chatbot.domain.chat import MessageRole, SessionId
from chatbot.domain.errors import Conflict, SessionBusy
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.export import (
    Change,
    Conversation,
    ExportTarget,
    Item,
    Unreadable,
    kind_of,
    name_of_session,
    stored_record,
)
from chatbot.domain.ports.journal import JOURNALS, JournalEntry, copy_entry, entries_of, entry_like
from chatbot.domain.ports.records import AnyKind
from chatbot.domain.transaction import KINDS

_ROWS_AT_ONCE = 500
_SESSIONS = (
    select(sessions, memories.c.content)
    .outerjoin_from(sessions, memories)
    .order_by(sessions.c.owner, sessions.c.id)
)
_MESSAGES = (
    select(messages)
    .join(sessions)  # a session deleted manually may leave some
    .order_by(messages.c.owner, messages.c.session_id, messages.c.seq)
)


class SqlExport(ExportTarget):
    """The data in the database of an `SqlStorage`, which may be in use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reader: Connection | None = None
        self._writer: Connection | None = None

    def __exit__(self, *exc_info: object) -> None:
        """Disconnect; the writer last, for it leaves an SQLite file tidy."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    def items(self) -> Generator[Item | Unreadable]:
        with translated(), self._database.connect(to_read=True) as connection, connection.begin():
            require_current(connection)
            for kind in KINDS:
                yield from _records(connection, kind)
            yield from _conversations(connection)
            for journal in JOURNALS:
                yield from entries_of(SqlJournal(SqlSession(connection)), journal)

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

    def remove(self, owner: Owner, session_id: SessionId) -> None:
        with self._writing() as connection:
            _require_idle(connection, owner, session_id)
            connection.execute(delete(sessions).where(_is_of(sessions, owner, session_id)))

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
        """Make the tables, if there are none."""
        if not self._is_made():
            from chatbot.adapters.storage.sql.upgrading import upgrade  # noqa: PLC0415 - Alembic, 9 MiB

            self._database.create()
            upgrade(self._database)


def _found(connection: Connection, item: Item) -> Item | None:
    if isinstance(item, JournalEntry):
        return entry_like(item, SqlJournal(SqlSession(connection)))
    if not isinstance(item, Conversation):
        return stored_record(SqlRecords(SqlSession(connection)), kind_of(item), item)
    key = item.session.owner, item.session.id
    row = connection.execute(_SESSIONS.where(_is_of(sessions, *key))).first()
    if row is None:
        return None
    lines = connection.execute(_MESSAGES.where(_is_of(messages, *key))).all()
    found = _conversation(row, lines)
    if isinstance(found, Unreadable):
        raise Conflict(f"The existing item is damaged ({found.reason}).")
    return found


def _initial(item: Item) -> Item | None:
    """The record that a new store has in this item's place."""
    if isinstance(item, Conversation | JournalEntry):
        return None
    return stored_record(InMemoryRecords({}), kind_of(item), item)


def _records(connection: Connection, kind: AnyKind) -> Iterator[Item | Unreadable]:
    keys = [table_of(kind).c[name] for name in kind.key]
    for row in connection.execute(select(table_of(kind)).order_by(*keys)):
        try:
            yield record_of(kind, row)
        except Damaged as damage:
            key = " ".join(row[: len(keys)])
            yield Unreadable(name=f"{kind.singular} {key}", reason=str(damage))


def _conversations(connection: Connection) -> Iterator[Conversation | Unreadable]:
    """Sessions and messages are read side by side in the same order: their keys'."""
    slowly = {"yield_per": _ROWS_AT_ONCE}
    with (
        connection.execute(_SESSIONS, execution_options=slowly) as rows,
        connection.execute(_MESSAGES, execution_options=slowly) as lines,
    ):
        groups = groupby(lines, lambda line: (line.owner, line.session_id))
        whose, group = next(groups, (None, iter(())))
        for row in rows:
            own: tuple[Row[Any], ...] = ()
            if whose == (row.owner, row.id):
                own = tuple(group)
                whose, group = next(groups, (None, iter(())))
            yield _conversation(row, own)


def _conversation(row: Row[Any], lines: Sequence[Row[Any]]) -> Conversation | Unreadable:
    session = session_of(row)
    name = name_of_session(session.owner, session.id)
    try:
        memory = Memory() if row.content is None else codec(Memory).from_json(row.content, "memory")
        own = tuple(message_of(line) for line in lines)
    except (Damaged, ValueError) as error:
        return Unreadable(name=name, reason=str(error))
    found = Conversation(session=session, messages=own, memory=memory)
    if not found.is_whole():
        return Unreadable(name=name, reason="messages are missing or duplicated")
    return found


def _put(connection: Connection, change: Change) -> None:
    """Replace an item, if the existing one is as expected."""
    if isinstance(change.item, JournalEntry):
        copy_entry(change.item, SqlJournal(SqlSession(connection)))
        return
    if not isinstance(change.item, Conversation):
        records = SqlRecords(SqlSession(connection))
        records.put(kind_of(change.item), change.item, expected=change.over)
        return
    _require_idle(connection, change.item.session.owner, change.item.session.id)
    there = _found(connection, change.item)
    if there != change.over:
        raise Conflict("The session was changed in the meantime.")
    try:
        _put_conversation(connection, change.item, there)
    except IntegrityError as error:
        raise Conflict("The session was changed in the meantime.") from error
    except (DataError, OverflowError) as error:
        raise Conflict("The database cannot store it.") from error


def _require_idle(connection: Connection, owner: Owner, session_id: SessionId) -> None:
    """Lock the row of the session, if it exists."""
    is_busy = select(sessions.c.lease_until > unix_now()).where(_is_of(sessions, owner, session_id))
    if connection.execute(is_busy.with_for_update()).scalar():
        raise SessionBusy


def _put_conversation(connection: Connection, new: Conversation, there: Item | None) -> None:
    """Existing messages stay; the others are written."""
    session, key = new.session, (new.session.owner, new.session.id)
    is_titled = any(message.role is MessageRole.USER for message in new.messages)
    values = session_values(session, is_titled=is_titled)
    old = there.messages if isinstance(there, Conversation) else ()
    kept = len(old) if old == new.messages[: len(old)] else 0
    if there is None:
        connection.execute(insert(sessions), values)
    else:
        change = update(sessions).where(_is_of(sessions, *key))
        connection.execute(change.values(values))
    if not kept:
        connection.execute(delete(messages).where(_is_of(messages, *key)))
    rows = [message_values(*key, each) for each in new.messages[kept:]]
    if rows:
        connection.execute(insert(messages), rows)
    connection.execute(delete(memories).where(_is_of(memories, *key)))
    if new.memory != Memory():
        content = {"content": codec(Memory).to_json(new.memory), "version": new.memory.version}
        place = {"owner": owner_key(session.owner), "session_id": session.id}
        connection.execute(insert(memories), {**place, **content})


def _is_of(table: Table, owner: Owner, session_id: SessionId) -> ColumnElement[bool]:
    """Which rows are the session's: its own, its messages, its memory."""
    column = table.c.id if table is sessions else table.c.session_id
    return and_(table.c.owner == owner_key(owner), column == session_id)
