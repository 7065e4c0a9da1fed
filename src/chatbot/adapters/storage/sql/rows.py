"""Sessions, messages, memories and records as rows."""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, cast

from sqlalchemy import Row

from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_values import Json, JsonObject, load
from chatbot.adapters.storage.sql.tables import REST, sessions, stored_columns
from chatbot.domain.answer_details import AnswerDetails
from chatbot.domain.chat import InterruptReason, Message, MessageRole, Session, SessionId, TurnId
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.records import AnyKind, Kind, Record

_RECORDS_KEPT = 1024
_SESSION_COLUMNS = {column.name for column in sessions.columns}


def owner_key(owner: Owner) -> str:
    """The owner as one value, as in `user:0f3a...`: it is part of every key."""
    return owner.key


def owner_of(key: str) -> Owner:
    """The owner with this key."""
    kind, _, name = key.partition(":")
    return Owner(kind="user" if kind == "user" else "client", id=name)


def session_values(session: Session, *, is_titled: bool) -> dict[str, object]:
    """The row of a session; its title is not NULL if it is titled, even if the title is empty."""
    return {
        "owner": owner_key(session.owner),
        "id": session.id,
        "title": session.title if is_titled else session.title or None,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "message_count": session.message_count,
        "last_seq": session.last_seq,
        "epoch": session.epoch,
        "rest": rest_of(session),
    }


def session_of(row: Row[Any]) -> Session:
    """The session of a row.

    Raises:
        Damaged: another program changed it.
    """
    session = Session(
        id=SessionId(row.id),
        owner=owner_of(row.owner),
        title=row.title or "",
        created_at=row.created_at,
        updated_at=row.updated_at,
        message_count=row.message_count,
        last_seq=row.last_seq,
        epoch=row.epoch,
    )
    return with_rest(session, row.rest)


def rest_of(session: Session) -> Json | None:
    """The fields that have no column of their own, without those that have their default."""
    stored = codec(Session).to_json(session)
    return {name: stored[name] for name in stored.keys() - _SESSION_COLUMNS} or None


def with_rest(session: Session, rest: object) -> Session:
    """The session with the fields that have no column.

    Raises:
        Damaged: as above.
    """
    if rest is None:
        return session
    stored = {**codec(Session).to_json(session), **JsonObject(rest, "session").found}
    return codec(Session).from_json(stored, "session")


def message_values(owner: Owner, session_id: SessionId, message: Message) -> dict[str, object]:
    """The row of a message."""
    return {
        "owner": owner_key(owner),
        "session_id": session_id,
        "seq": message.seq,
        "role": message.role.value,
        "content": message.content,
        "ts": message.ts,
        "turn_id": message.turn_id,
        "reason": message.reason.value if message.reason else None,
        "details": details_values(message),
    }


def message_of(row: Row[Any]) -> Message:
    """The message of a row.

    Raises:
        Damaged, ValueError: another program changed it.
    """
    return Message(
        seq=row.seq,
        role=MessageRole(row.role),
        content=row.content,
        ts=row.ts,
        turn_id=TurnId(row.turn_id),
        reason=InterruptReason(row.reason) if row.reason else None,
        details=None
        if row.details is None
        else codec(AnswerDetails).from_json(row.details, "message"),
    )


def details_values(message: Message) -> Json | None:
    """The stored form of an answer's details."""
    return None if message.details is None else codec(AnswerDetails).to_json(message.details)


def memory_values(owner: Owner, session_id: SessionId, memory: Memory) -> dict[str, object]:
    """The row of a session's memory."""
    return {
        "owner": owner_key(owner),
        "session_id": session_id,
        "version": memory.version,
        "content": codec(Memory).to_json(memory),
    }


def memory_of(content: object) -> Memory:
    """The memory of a row, or of none.

    Raises:
        Damaged: another program changed it.
    """
    return Memory() if content is None else codec(Memory).from_json(content, "memory")


def record_values(kind: Kind[Record], record: Record) -> Json:
    """The row of a record."""
    found = codec(kind.type).to_json(record)
    derived = {name: getattr(record, name) for name in kind.derived}
    columns = {name: found.pop(name, None) for name in column_names(kind)}
    return {**columns, REST: found, **derived}


def record_of(kind: Kind[Record], row: Row[Any]) -> Record:
    """The record of a row.

    Raises:
        Damaged: another program changed it.
    """
    *columns, rest = tuple(row)
    if isinstance(rest, str):
        return cast("Record", decoded_record(kind, rest, *columns))
    return _record(kind, rest, columns)


@lru_cache(maxsize=_RECORDS_KEPT)
def decoded_record(kind: AnyKind, rest: str, *columns: str | None) -> object:
    """The record of a row with this text of JSON, kept: a caller is looked up at each request."""
    return _record(kind, load(rest.encode(), kind.singular), columns)


def _record(kind: Kind[Record], rest: object, columns: Sequence[str | None]) -> Record:
    names = column_names(kind)
    found = {**JsonObject(rest, kind.singular).found, **dict(zip(names, columns, strict=True))}
    return codec(kind.type).from_json(found, kind.singular)


@cache
def column_names(kind: AnyKind) -> list[str]:
    """The columns that make a record, besides the JSON."""
    return [column.name for column in stored_columns(kind)[:-1]]
