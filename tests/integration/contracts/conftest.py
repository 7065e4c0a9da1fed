"""Fixtures that several contract suites share."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.domain.ports.storage import Storage
from notes import LISTED_NOTES, NOTES
from record_stores import Store, made


@pytest.fixture(params=["in_memory", "shards", "document", "sqlite", "postgres"])
def closed_note_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    match request.param:
        case "in_memory":
            yield InMemoryStorage()
        case "sqlite":
            yield from made(SqliteDatabase(request.getfixturevalue("sqlite_store")))
        case "postgres":
            url = request.getfixturevalue("postgres_store")
            yield from made(PostgresDatabase(url, connections=4, prepared=True))
        case _:
            yield JsonFileStorage(tmp_path / "data")


@pytest.fixture
async def store(request: pytest.FixtureRequest, closed_note_store: Storage) -> AsyncIterator[Store]:
    is_document = request.node.callspec.params["closed_note_store"] == "document"
    async with closed_note_store:
        yield Store(closed_note_store, LISTED_NOTES if is_document else NOTES)
