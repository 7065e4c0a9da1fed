"""The rows of the search index, in the transaction of the indexed data."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import text

from chatbot.adapters.search.rows import IndexRows
from chatbot.adapters.storage.index_rows import StatementIndexRows
from chatbot.adapters.storage.index_statements import POSTGRES, SQLITE, Statements
from chatbot.adapters.storage.sql.database import SqlSession


def index_rows_of(sql: SqlSession) -> IndexRows:
    """Returns the rows as a piece of work sees them."""
    is_sqlite = sql.connection.dialect.name == "sqlite"
    return StatementIndexRows(_SqlStatements(sql), SQLITE if is_sqlite else POSTGRES)


class _SqlStatements(Statements):
    def __init__(self, sql: SqlSession) -> None:
        self._sql = sql

    def read(self, statement: str, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        return self._sql.tuples(_text(statement), values)

    def write(self, statement: str, *rows: Mapping[str, object]) -> None:
        if len(rows) == 1:
            self._sql.write(_text(statement), rows[0])
        else:
            self._sql.write_all(_text(statement), rows)

    def lock(self, name: str) -> None:
        self._sql.lock_names([name])


_text = cache(text)
"""SQLAlchemy finds the compiled form of the same object at once."""
