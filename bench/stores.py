"""The stores side by side: made empty, and filled with whole conversations, quickly."""

import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection, insert

from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_files.checksummed import encode_line
from chatbot.adapters.storage.json_files.log_reader import header_line
from chatbot.adapters.storage.json_files.paths import paths_of, to_ns
from chatbot.adapters.storage.sql import tables
from chatbot.adapters.storage.sql.rows import message_values, session_values
from chatbot.adapters.storage.sql.storage import build_database
from chatbot.domain.chat import Message, MessageRole, Session, SessionId, TurnId, title_of
from chatbot.domain.identity import Owner
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.commands.store import make_store
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.loading import settings_of as validated

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from postgres import new_database, postgres_url  # of the tests

Conversation = tuple[Session, Sequence[Message]]

_ROWS_AT_ONCE = 1000


@contextmanager
def stores(folder: Path) -> Iterator[dict[str, str]]:
    """The address of a new store of each kind, by name. Postgres is a server of its own."""
    with postgres_url() as server, new_database(server) as postgres:
        found = {
            "memory": "memory:",
            "JSON": f"json:{folder / 'json'}",
            "SQLite": f"sqlite:///{folder / 'chatbot.db'}",
            "Postgres": postgres,
        }
        yield {name: made(url) for name, url in found.items()}


def made(url: str) -> str:
    """The address of a store that is made, as `chatbot init` does it."""
    make_store(settings_of(url))
    return url


def settings_of(url: str) -> Settings:
    key = secrets.token_hex(24)
    return validated({"api_key": key, "jwt_secret": key[::-1], "storage_url": url})


def conversation(owner: Owner, messages: int, content: str, *, at: datetime) -> Conversation:
    """A session whose messages are all alike, the user's and the assistant's in turn."""
    said = [
        Message(
            seq=number + 1,
            role=MessageRole.ASSISTANT if number % 2 else MessageRole.USER,
            content=content,
            ts=at,
            turn_id=TurnId("a" * 32),
            reason=None,
        )
        for number in range(messages)
    ]
    session_id = SessionId(secrets.token_hex(16))
    return Session(id=session_id, owner=owner, title="", created_at=at, updated_at=at), said


async def put(storage: Storage, url: str, conversations: Iterable[Conversation]) -> list[SessionId]:
    """Write them as the store would have, but all at once and without waiting for the disk."""
    settings, ids = settings_of(url), list[SessionId]()

    def noted() -> Iterator[Conversation]:
        for session, messages in conversations:
            ids.append(session.id)
            yield session, messages

    match settings.storage.url.scheme:
        case "memory":
            await storage.transact(lambda tx: _say(tx, noted()))
        case "json":
            _write_logs(settings.storage.url.local_folder / "memory", noted())
        case _:
            database = build_database(settings.storage.url)
            with database.connect() as connection:
                database.lock_schema(connection)
                _insert(connection, noted())
                connection.commit()
    return ids


def _say(tx: Transaction, conversations: Iterable[Conversation]) -> None:
    for session, messages in conversations:
        tx.sessions.create(session)
        lease = tx.sessions.acquire(session.owner, session.id, TurnId("a" * 32))
        for message in messages:
            tx.sessions.append(lease, message)
        tx.sessions.release(lease)


def _write_logs(folder: Path, conversations: Iterable[Conversation]) -> None:
    for session, messages in conversations:
        paths = paths_of(folder, session.owner, session.id)
        paths.folder.mkdir(mode=0o700, exist_ok=True)
        with paths.log.open("wb") as log:
            log.write(header_line(session))
            log.writelines(encode_line(codec(Message).to_json(message)) for message in messages)
        paths.log.chmod(0o600)
        os.utime(paths.log, ns=(to_ns(session.updated_at),) * 2)


def _insert(connection: Connection, conversations: Iterator[Conversation]) -> None:
    while some := list(islice(conversations, _ROWS_AT_ONCE)):
        connection.execute(insert(tables.sessions), [_row(*each) for each in some])
        rows = (
            message_values(session.owner, session.id, message)
            for session, messages in some
            for message in messages
        )
        while batch := list(islice(rows, _ROWS_AT_ONCE)):
            connection.execute(insert(tables.messages), batch)


def _row(session: Session, messages: Sequence[Message]) -> dict[str, object]:
    count = len(messages)
    counted = replace(session, title=title_of(messages), message_count=count, last_seq=count)
    return session_values(counted, is_titled=True)
