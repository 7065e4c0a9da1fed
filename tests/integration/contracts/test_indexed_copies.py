"""What is imported, restored or migrated is in the search index, and so is what was upgraded."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from chatbot.adapters.storage.json_files.export import JsonFileExport
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.adapters.storage.sql.database import Database
from chatbot.adapters.storage.sql.export import SqlExport
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.adapters.storage.sql.upgrading import configured, upgrade
from chatbot.domain.ports.export import Change, Conversation, ExportTarget
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import messages_scope
from index_contents import Indexed, assert_index_is_true
from samples import ANA, CLIENT, conversation


def checked(storage: Storage) -> list[Indexed]:
    """The index of Ana, which is that of her stored messages."""

    async def found() -> list[Indexed]:
        async with storage:
            await storage.transact(lambda tx: tx.index.indexed(messages_scope(ANA)))  # all of it
            return await assert_index_is_true(storage, ANA)

    return asyncio.run(found())


@pytest.fixture(params=["json_files", "sqlite", "postgres"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[ExportTarget, Callable[[], Storage]]]:
    if request.param == "json_files":
        with JsonFileExport(tmp_path / "data") as export:
            yield export, lambda: JsonFileStorage(tmp_path / "data")
        return
    database = database_of(request, tmp_path, request.param)
    with SqlExport(database) as export:
        yield export, lambda: SqlStorage(database, replica="test")


def database_of(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> Database:
    if kind == "sqlite":
        return SqliteDatabase(tmp_path / "data" / "chatbot.db")
    url = request.getfixturevalue("postgres_database")
    return PostgresDatabase(url, connections=2, prepared=True)


def put(export: ExportTarget, new: Conversation, over: Conversation | None = None) -> None:
    export.put([Change(new, over)])


def test_a_copied_conversation_is_indexed(
    store: tuple[ExportTarget, Callable[[], Storage]],
) -> None:
    export, storage = store
    short, long = conversation(1), conversation(2, texts=[f"text {n}" for n in range(1100)])
    put(export, short)
    put(export, long)
    put(export, conversation(3, owner=CLIENT))
    assert len(checked(storage())) == 1102


@pytest.mark.parametrize(
    ("texts", "reset_at"),
    [
        (["Hi", "Hello!", "more"], 0),
        (["another"], 0),
        (["another", "two", "three"], 7),
        ([], 2),
    ],
)
def test_a_conversation_that_takes_the_place_of_another_does_so_in_the_index(
    store: tuple[ExportTarget, Callable[[], Storage]], texts: list[str], reset_at: int
) -> None:
    export, storage = store
    put(export, old := conversation(1))
    assert len(checked(storage())) == 2
    put(export, conversation(1, texts=texts, reset_at=reset_at, epoch=int(reset_at > 0)), old)
    assert len(checked(storage())) == len(texts)


def test_a_removed_conversation_leaves_the_index(
    store: tuple[ExportTarget, Callable[[], Storage]],
) -> None:
    export, storage = store
    put(export, conversation(1))
    put(export, conversation(2))
    assert len(checked(storage())) == 4
    export.remove(ANA, conversation(1).session.id)
    assert {each.parent for each in checked(storage())} == {conversation(2).session.id}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_upgrade_indexes_the_messages_of_a_database_without_an_index(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    database = database_of(request, tmp_path, kind)
    with SqlExport(database) as export:
        for number in range(1, 8):
            put(export, conversation(number, texts=[f"text {number} {n}" for n in range(20)]))
        put(export, conversation(9, owner=CLIENT))
    with database.connect() as connection:
        database.lock_schema(connection)
        connection.execute(text("UPDATE messages SET role = 'odd' WHERE owner LIKE 'client%'"))
        command.downgrade(configured(connection), "0009")
        connection.commit()
    reported: list[tuple[int, int]] = []
    upgrade(database, lambda done, total: reported.append((done, total)))
    assert reported == [(number, 8) for number in range(1, 9)]
    assert len(checked(SqlStorage(database, replica="test"))) == 140
    upgrade(database, lambda *_: pytest.fail("it is indexed already"))


def test_an_old_folder_is_indexed_by_its_first_search(tmp_path: Path) -> None:
    with JsonFileExport(tmp_path / "data") as export:
        put(export, conversation(1))
    assert not (tmp_path / "data" / "index.db").exists()
    assert len(checked(JsonFileStorage(tmp_path / "data"))) == 2
