"""Sessions with their messages and memory, read and written as a whole."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, delete, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError

from chatbot.adapters.search.caches import IndexCache
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.adapters.storage.json_values import Damaged
from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.index_rows import index_rows_of
from chatbot.adapters.storage.sql.rows import (
    memory_of,
    memory_values,
    message_of,
    message_values,
    owner_key,
    owner_of,
    session_of,
    session_values,
)
from chatbot.adapters.storage.sql.tables import (
    memories,
    messages,
    sessions,
    unix_now,
)
from chatbot.domain.chat import MessageRole, SessionId
from chatbot.domain.errors import Conflict, SessionBusy
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.export import (
    Conversation,
    Item,
    Unreadable,
    name_of_session,
)
from chatbot.domain.search import messages_scope, passages_of
from chatbot.domain.session_fields import require_no_hold

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


def find_conversation(
    connection: Connection, owner: Owner, session_id: SessionId
) -> Conversation | None:
    """Return the conversation, or None.

    Raises:
        Conflict: it is damaged.
    """
    row = connection.execute(_SESSIONS.where(_is_of(sessions, owner, session_id))).first()
    if row is None:
        return None
    lines = connection.execute(_MESSAGES.where(_is_of(messages, owner, session_id))).all()
    found = _conversation(row, lines)
    if isinstance(found, Unreadable):
        raise Conflict(f"The existing item is damaged ({found.reason}).")
    return found


def conversations(connection: Connection) -> Iterator[Conversation | Unreadable]:
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
    name = name_of_session(owner_of(row.owner), row.id)
    try:
        session = session_of(row)
        memory = memory_of(row.content)
        own = tuple(message_of(line) for line in lines)
    except (Damaged, ValueError) as error:
        return Unreadable(name=name, reason=str(error))
    found = Conversation(session=session, messages=own, memory=memory)
    if not found.is_complete():
        return Unreadable(name=name, reason="messages are missing or duplicated")
    return found


def put_conversation(connection: Connection, new: Conversation, *, over: Item | None) -> None:
    """Replace a conversation, if the existing one is as expected.

    Raises:
        Conflict: see `ExportTarget.put`.
    """
    owner, session_id = new.session.owner, new.session.id
    _require_idle(connection, owner, session_id)
    there = find_conversation(connection, owner, session_id)
    if there != over:
        raise Conflict("The session was changed in the meantime.")
    try:
        _put(connection, new, there)
    except IntegrityError as error:
        raise Conflict("The session was changed in the meantime.") from error
    except (DataError, OverflowError) as error:
        raise Conflict("The database cannot store it.") from error


def remove_conversation(connection: Connection, owner: Owner, session_id: SessionId) -> None:
    """Remove a conversation; no-op if absent.

    Raises:
        SessionBusy, SessionHeld: see `ExportTarget.remove`.
    """
    _require_idle(connection, owner, session_id)
    row = connection.execute(select(sessions).where(_is_of(sessions, owner, session_id))).first()
    if row is not None:
        require_no_hold(session_of(row).hold)
    connection.execute(delete(sessions).where(_is_of(sessions, owner, session_id)))
    index_of(connection).remove(messages_scope(owner), session_id)


def index_of(connection: Connection) -> StoredIndex:
    """Return the search index, in the connection's transaction."""
    return StoredIndex(index_rows_of(SqlSession(connection)), IndexCache())


def _require_idle(connection: Connection, owner: Owner, session_id: SessionId) -> None:
    """Lock the row of the session, if it exists."""
    is_busy = select(sessions.c.lease_until > unix_now()).where(_is_of(sessions, owner, session_id))
    if connection.execute(is_busy.with_for_update()).scalar():
        raise SessionBusy


def _put(connection: Connection, new: Conversation, there: Conversation | None) -> None:
    """Keep the existing messages, and write the others."""
    session, key = new.session, (new.session.owner, new.session.id)
    is_titled = any(message.role is MessageRole.USER for message in new.messages)
    values = session_values(session, is_titled=is_titled)
    old = () if there is None else there.messages
    kept = len(old) if old == new.messages[: len(old)] else 0
    if there is None:
        connection.execute(insert(sessions), values)
    else:
        change = update(sessions).where(_is_of(sessions, *key))
        connection.execute(change.values(values))
    scope, index = messages_scope(session.owner), index_of(connection)
    if not kept:
        connection.execute(delete(messages).where(_is_of(messages, *key)))
        index.remove(scope, session.id)
    for at in range(kept, len(new.messages), _ROWS_AT_ONCE):  # Postgres limits how long it waits
        index.append(scope, session.id, passages_of(new.messages[at : at + _ROWS_AT_ONCE]))
    rows = [message_values(*key, each) for each in new.messages[kept:]]
    if rows:
        connection.execute(insert(messages), rows)
    connection.execute(delete(memories).where(_is_of(memories, *key)))
    if new.memory != Memory():
        connection.execute(insert(memories), memory_values(*key, new.memory))


def _is_of(table: Table, owner: Owner, session_id: SessionId) -> ColumnElement[bool]:
    """The rows of a session: its own, its messages and its memory."""
    column = table.c.id if table is sessions else table.c.session_id
    return and_(table.c.owner == owner_key(owner), column == session_id)
