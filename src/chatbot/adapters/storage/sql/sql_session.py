"""The statements of one piece of work, all in one transaction."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable, Row, Table, text

Values = Mapping[str, object]

_LOCK_NUMBERS = text(
    "SELECT pg_advisory_xact_lock(number) FROM unnest(CAST(:numbers AS bigint[])) AS number"
)


class SqlSession:
    """What the repositories execute on. What has been written is committed with the work."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def row(self, query: Executable, values: Values | None = None) -> Row[Any] | None:
        """The first row, if there is one."""
        return self._read(query, values).first()

    def rows(self, query: Executable, values: Values | None = None) -> Sequence[Row[Any]]:
        return self._read(query, values).all()

    def write(self, change: Executable, values: Values | None = None) -> CursorResult[Any]:
        """Insert, update or delete; also to read what is to be changed, with `FOR UPDATE`."""
        return self._execute(change, values)

    def delete_securely(
        self, change: Executable, values: Values | None = None
    ) -> CursorResult[Any]:
        """Delete rows that a person wants gone; as far as the database can, also from its files."""
        return self.write(change, values)

    def lock(self, table: Table) -> None:
        """Keep others from writing to the table, and from locking it, until the end."""
        self._execute(text(f"LOCK TABLE {table.name} IN EXCLUSIVE MODE"))

    def lock_names(self, names: Collection[str]) -> None:
        """Exclude other transactions that lock one of these names, until the end.

        On SQLite a transaction that writes excludes all others anyway.
        """
        if self.connection.dialect.name == "sqlite":
            return
        digests = (hashlib.sha256(name.encode()).digest() for name in names)
        numbers = sorted(int.from_bytes(digest[:8], signed=True) for digest in digests)
        self._execute(_LOCK_NUMBERS, {"numbers": numbers})

    def _read(self, query: Executable, values: Values | None) -> CursorResult[Any]:
        return self._execute(query, values)

    def _execute(self, statement: Executable, values: Values | None = None) -> CursorResult[Any]:
        return self.connection.execute(statement, values)
