"""Blobs as rows, each of one part.

SQLite copies the beginning of a row when it splits a page, and such copies outlast the row, whatever
`secure_delete` says. Data after the first page of a row is never copied. So on SQLite each part
begins with a page of zeros, and no deleted data stays in the file.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select

from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.tables import blobs
from chatbot.domain.ports.blobs import PART_BYTES, Blobs, require_blob_name

_IS_NAME = blobs.c.name == bindparam("name")
_IS_BELOW = and_(blobs.c.name > bindparam("first"), blobs.c.name < bindparam("last"))
_DATA = select(blobs.c.name, blobs.c.data).order_by(blobs.c.name, blobs.c.part)
_OF_ALL = _DATA.where(blobs.c.name.in_(bindparam("names", expanding=True)))
_PART = select(blobs.c.data).where(_IS_NAME, blobs.c.part == bindparam("part"))
_NAMES = (
    select(blobs.c.name)
    .where(_IS_BELOW, blobs.c.name > bindparam("after"), blobs.c.part == 0)
    .order_by(blobs.c.name)
)
_ALL = select(blobs.c.name).where(blobs.c.part == 0).order_by(blobs.c.name)
_SIZE = select(func.coalesce(func.sum(func.length(blobs.c.data)), 0)).where(_IS_BELOW)
_REMOVE = delete(blobs).where(or_(_IS_NAME, _IS_BELOW))


_PAGE = bytes(4096)


class SqlBlobs(Blobs):
    """The blobs as one transaction sees them."""

    def __init__(self, sql: SqlSession) -> None:
        self._sql = sql
        self._before = _PAGE if sql.connection.dialect.name == "sqlite" else b""

    def put(self, name: str, data: bytes) -> None:
        require_blob_name(name)
        self._sql.write(delete(blobs).where(_IS_NAME), {"name": name})
        offsets = range(0, max(len(data), 1), PART_BYTES)
        for part, offset in enumerate(offsets):
            stored = self._before + data[offset : offset + PART_BYTES]
            self._sql.write(insert(blobs), {"name": name, "part": part, "data": stored})

    def get(self, name: str) -> bytes | None:
        return self.get_all([name]).get(name)

    def get_all(self, names: Sequence[str]) -> Mapping[str, bytes]:
        rows = self._sql.rows(_OF_ALL, {"names": list(names)}) if names else []
        return {
            name: b"".join(row.data[len(self._before) :] for row in parts)
            for name, parts in groupby(rows, key=attrgetter("name"))
        }

    def part(self, name: str, number: int) -> bytes | None:
        row = self._sql.row(_PART, {"name": name, "part": number})
        return None if row is None else bytes(row.data[len(self._before) :]) or None

    def names(self, folder: str, *, after: str = "", limit: int | None = None) -> Sequence[str]:
        query = _NAMES if limit is None else _NAMES.limit(limit)
        return [row.name for row in self._sql.rows(query, {**_below(folder), "after": after})]

    def all(self) -> Sequence[str]:
        """Return the names of all blobs."""
        return [row.name for row in self._sql.rows(_ALL)]

    def size(self, folder: str) -> int:
        row = self._sql.row(_SIZE, _below(folder))
        return 0 if row is None else int(row[0])

    def remove(self, name: str) -> None:
        self._sql.delete_securely(_REMOVE, {"name": name, **_below(name)})


def _below(folder: str) -> dict[str, object]:
    """Return the bounds of the names below a folder: `0` is the character after `/`."""
    return {"first": f"{folder}/", "last": f"{folder}0"}
