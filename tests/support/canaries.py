"""A person with a canary in every text that a store keeps of them, and everything a store holds."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from chatbot.adapters.search.stored_index import prepared
from chatbot.adapters.storage.codec import codec
from chatbot.application.document_index import classified, indexed_form, publish
from chatbot.domain.chat import Message, MessageRole, Session, SessionId, TurnId
from chatbot.domain.document_passages import StoredPassage, content_name
from chatbot.domain.documents import PRIVATE, Access, Document, DocumentId, Version, scope_of
from chatbot.domain.identity import Owner, User, UserId
from chatbot.domain.limits import Subject
from chatbot.domain.memory import Memory
from chatbot.domain.ports.counters import Addition, CounterKey
from chatbot.domain.ports.records import AnyKind
from chatbot.domain.repositories.users import USERS
from chatbot.domain.session_fields import Hold
from chatbot.domain.transaction import KINDS, Transaction
from filled import filled
from samples import T0

CANARY = "canary-7d31"
SESSIONS = 3
GIVEN: dict[str, dict[str, Any]] = {
    "limits": {"subject": Subject.USER},
    "users": {"email": f"{CANARY}@example.com", "roles": ("employee",)},
}
"""Values of fields that cannot have any value, by the name of the kind."""
Record = TypeVar("Record")


def with_canary(record: Record, canary: str) -> Record:
    """The record with the canary in each text that `filled` has made."""
    form: Any = codec(type(record))
    text = json.dumps(form.to_json(record)).replace('"of ', f'"{canary} of ')
    found: Record = form.from_json(json.loads(text), "record")
    return found


def person(user_id: UserId, canary: str = CANARY) -> User:
    """A user with the canary in every text but the id."""
    given = GIVEN["users"] | {"id": user_id, "email": f"{canary}@example.com"}
    return replace(with_canary(filled(User, **given), canary), is_active=True)


def personal_records(user_id: UserId, canary: str) -> list[tuple[AnyKind, Any]]:
    """A record of each kind that is about a person, but the user."""
    return [
        (
            kind,
            with_canary(
                filled(kind.type, **GIVEN.get(kind.name, {}) | {kind.subject: user_id}), canary
            ),
        )
        for kind in KINDS
        if kind.subject is not None and kind is not USERS
    ]


def plant(tx: Transaction, user: User, canary: str = CANARY) -> None:
    """Store the user with something in every place that can hold something about them."""
    tx.users.add(user)
    for kind, record in personal_records(user.id, canary):
        tx.records.put(kind, record, expected=None)
    for number in range(SESSIONS):
        _plant_session(tx, Owner(kind="user", id=user.id), number, canary)
    plant_document(tx, user.id, canary)
    later = T0 + timedelta(days=400)
    tx.counters.add(
        [
            Addition(
                key=CounterKey(
                    "usage", f"2026-03-01|{user.id}|{canary}|{canary}|{canary}|{canary}|turns"
                ),
                amount=3,
                expires_at=later,
            )
        ],
        now=T0,
    )


def plant_document(
    tx: Transaction,
    user_id: UserId,
    canary: str,
    *,
    access: Access = PRIVATE,
    number: int = 0,
    passages: int = 69,
) -> Document:
    """A document of a person with two versions, and the canary in each text of it."""
    version = Version(number=2, media_type="text/plain", size=99, digest=canary, name=canary)
    document = classified(
        Document(
            id=DocumentId(f"{number}{user_id}"[:32]),
            title=f"{canary} title",
            access=access,
            labels=(f"{canary} label",),
            scope=scope_of((), ()),
            uploaded_by=f"user:{user_id}",
            department="Sales",
            digest=canary,
            created_at=T0,
            updated_at=T0,
            newest=version,
            older=(replace(version, number=1),),
        )
    )
    for each in document.versions:
        tx.blobs.put(content_name(document.id, each.number), f"{canary} content".encode() * 999)
    tx.documents.put(document, old=None)
    made = [
        StoredPassage(seq=n, text=f"{canary} passage {n}", heading=canary, start=0, end=9)
        for n in range(1, passages + 1)
    ]
    indexed = prepared(document.id, indexed_form(made))
    return publish(tx, document, made, indexed, title=document.title, at=T0)


def _plant_session(tx: Transaction, owner: Owner, number: int, canary: str) -> None:
    session_id, turn_id = SessionId(f"{owner.id[:31]}{number}"), TurnId(f"{canary} turn")
    title = f"{canary} title" if number else ""
    new = Session(id=session_id, owner=owner, title=title, created_at=T0, updated_at=T0)
    tx.sessions.create(new)
    with tx.sessions.held(owner, session_id, turn_id) as lease:
        for role in MessageRole:
            said = filled(Message, role=role, content=f"{canary} said " * 50)
            tx.sessions.append(lease, replace(said, turn_id=turn_id))
        memory = replace(with_canary(filled(Memory), canary), version=0)
        assert tx.sessions.put_memory(owner, session_id, memory, epoch=0)
        held = replace(
            tx.sessions.get(owner, session_id), hold=Hold(reason=f"{canary} reason", at=T0)
        )
        tx.sessions.update(lease, held)
        released = replace(held, title=f"{canary} new title", hold=None)
        tx.sessions.update(lease, released)


def files_with(canary: str, folder: Path) -> list[Path]:
    """The files below a folder that contain the canary, in their names or bytes."""
    return [
        path
        for path in folder.rglob("*")
        if canary in path.name or (path.is_file() and canary.encode() in path.read_bytes())
    ]


def rows_with(canary: str, url: str) -> list[str]:
    """The tables of a Postgres database that contain the canary."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        return [
            name
            for (name,) in tables
            if connection.execute(
                sql.SQL("SELECT 1 FROM {} AS t WHERE t::text LIKE %s LIMIT 1").format(
                    sql.Identifier(name)
                ),
                [f"%{canary}%"],
            ).fetchone()
        ]
