"""How sessions, messages, users and roles look as rows."""

from typing import Any

from sqlalchemy import Row

from chatbot.domain.chat import InterruptReason, Message, MessageRole, Session, SessionId, TurnId
from chatbot.domain.identity import Owner, Role, User, UserId, known_permissions


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


def user_values(user: User) -> dict[str, object]:
    """The row of a user."""
    return {
        "id": user.id,
        "email": user.email,
        "password_hash": user.password_hash,
        "roles": list(user.roles),
        "department": user.department,
        "created_at": user.created_at,
        "is_active": user.is_active,
        "token_version": user.token_version,
    }


def user_of(row: Row[Any]) -> User:
    return User(
        id=UserId(row.id),
        email=row.email,
        password_hash=row.password_hash,
        roles=tuple(row.roles),
        department=row.department,
        created_at=row.created_at,
        is_active=row.is_active,
        token_version=row.token_version,
    )


def role_values(role: Role) -> dict[str, object]:
    """The row of a role."""
    return {"name": role.name, "permissions": sorted(each.value for each in role.permissions)}


def role_of(row: Row[Any]) -> Role:
    return Role(name=row.name, permissions=known_permissions(row.permissions))
