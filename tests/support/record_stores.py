"""Stores for notes."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from chatbot.adapters.storage.sql.database import Database
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.adapters.storage.sql.tables import table_of
from chatbot.adapters.storage.sql.upgrading import make_tables
from chatbot.domain.ports.records import Kind, Records
from chatbot.domain.ports.storage import Storage
from notes import NOTES, Note

Found = TypeVar("Found")
Work = Callable[[Records], Found]


class Store:
    """An open storage for notes."""

    def __init__(self, storage: Storage, kind: Kind[Note]) -> None:
        self.storage, self.kind = storage, kind

    async def do(self, work: Work[Found]) -> Found:
        return await self.storage.transact(lambda tx: work(tx.records))

    async def put(self, *notes: Note) -> None:
        for note in notes:
            await self.do(partial(_put, self.kind, note))

    async def all(self) -> list[Note]:
        return list(await self.do(lambda records: records.page(self.kind)))


def _put(kind: Kind[Note], note: Note, records: Records) -> None:
    records.put(kind, note, expected=None)


def made(database: Database) -> Iterator[Storage]:
    """A storage on a database with a table for notes."""
    with database.connect() as connection:
        make_tables(connection, [NOTES])
        connection.commit()
    yield SqlStorage(database, replica="test")
    with database.connect() as connection:
        table_of(NOTES).drop(connection)
        connection.commit()
