"""Statements that SQLAlchemy compiles once, and sqlite3 runs by itself.

What SQLAlchemy does around each execution (a context, events, a result, rows) costs five times what
the driver needs, and a stored turn has ten statements: without that it costs 0.2 ms of CPU less, a
tenth of the whole turn (`bench/bench_turn.py`). Texts, values and rows are the same.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Dialect, Row, Select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.types import TypeEngine

from chatbot.adapters.storage.sql.sql_session import Values

Process = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class CompiledStatement:
    """The text of a statement, where its values come from, and what its rows are made of."""

    sql: str
    values: Sequence[tuple[str | None, object, Process | None]]
    """In order: the name of a value that is given, or one that is fixed; and how it is stored."""
    row: Callable[..., tuple[Any, ...]]
    columns: Sequence[Process | None]

    def run(self, connection: sqlite3.Connection, given: Values) -> "CompiledResult":
        values = [
            fixed if name is None else given[name] if process is None else process(given[name])
            for name, fixed, process in self.values
        ]
        return CompiledResult(self, connection.execute(self.sql, values))

    def read(self, raw: Sequence[Any]) -> Row[Any]:
        """Make a row of what the database has: its values have names, like those of SQLAlchemy."""
        values = (
            value if process is None else process(value)
            for value, process in zip(raw, self.columns, strict=True)
        )
        return cast("Row[Any]", self.row(*values))


class CompiledResult:
    """All that a statement has found. It is read at once, which ends the statement."""

    def __init__(self, statement: CompiledStatement, cursor: sqlite3.Cursor) -> None:
        self.rowcount = cursor.rowcount
        self._statement, self._found = statement, cursor.fetchall()

    def scalar(self) -> Any:  # noqa: ANN401 # as SQLAlchemy has it
        row = self.first()
        return None if row is None else row[0]

    def first(self) -> Row[Any] | None:
        return self._statement.read(self._found[0]) if self._found else None

    def all(self) -> list[Row[Any]]:
        return [self._statement.read(raw) for raw in self._found]


@lru_cache(maxsize=128)
def compiled(
    statement: Select[Any] | UpdateBase, names: tuple[str, ...], dialect: Dialect
) -> CompiledStatement:
    """Compile a statement for values of these names."""
    done = statement.compile(dialect=dialect, column_keys=list(names) or None)
    binds, fixed = done.binds, done.params

    def value(name: str) -> tuple[str | None, object, Process | None]:
        process = _impl(binds[name].type, dialect).bind_processor(dialect)
        if name in names:
            return name, None, process
        return None, fixed[name] if process is None else process(fixed[name]), None

    columns = list(statement.exported_columns)
    return CompiledStatement(
        sql=str(done),
        values=[value(name) for name in done.positiontup or ()],
        row=namedtuple("Row", [column.name for column in columns]),  # noqa: PYI024 # its fields are the statement's
        columns=[_impl(each.type, dialect).result_processor(dialect, None) for each in columns],
    )


def _impl(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return kind.dialect_impl(dialect)
