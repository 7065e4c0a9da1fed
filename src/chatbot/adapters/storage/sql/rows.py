"""How sessions, messages and records look as rows."""

from typing import Any

from sqlalchemy import Row

from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_values import Json, JsonObject
from chatbot.adapters.storage.sql.tables import REST, table_of
from chatbot.domain.chat import InterruptReason, Message, MessageRole, Session, SessionId, TurnId
from chatbot.domain.identity import Owner
from chatbot.domain.ports.records import Kind, Record


def owner_key(owner: Owner) -> str:
    """The owner as one value, as in `user:0f3a...`: it is part of every key."""
    return f"{owner.kind}:{owner.id}"


def owner_of(key: str) -> Owner:
    """The owner with this key."""
    kind, _, name = key.partition(":")
    return Owner(kind="user" if kind == "user" else "client", id=name)


def session_values(session: Session, *, is_titled: bool) -> dict[str, object]:
    """The row of a session; it is not titled before the first message of its user."""
    return {
        "owner": owner_key(session.owner),
        "id": session.id,
        "title": session.title if is_titled else None,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "message_count": session.message_count,
        "last_seq": session.last_seq,
        "epoch": session.epoch,
    }


def session_of(row: Row[Any]) -> Session:
    return Session(
        id=SessionId(row.id),
        owner=owner_of(row.owner),
        title=row.title or "",
        created_at=row.created_at,
        updated_at=row.updated_at,
        message_count=row.message_count,
        last_seq=row.last_seq,
        epoch=row.epoch,
    )


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
    }


def message_of(row: Row[Any]) -> Message:
    return Message(
        seq=row.seq,
        role=MessageRole(row.role),
        content=row.content,
        ts=row.ts,
        turn_id=TurnId(row.turn_id),
        reason=InterruptReason(row.reason) if row.reason else None,
    )


def record_values(kind: Kind[Record], record: Record) -> Json:
    """The row of a record."""
    found = codec(kind.type).to_json(record)
    names = [column.name for column in table_of(kind).columns if column.name != REST]
    return {**{name: found.pop(name, None) for name in names}, REST: found}


def record_of(kind: Kind[Record], row: Row[Any]) -> Record:
    """The record of a row.

    Raises:
        Damaged: another program changed it.
    """
    found: Json = row._asdict()
    rest = JsonObject(found.pop(REST), kind.singular).found
    return codec(kind.type).from_json({**rest, **found}, kind.singular)
