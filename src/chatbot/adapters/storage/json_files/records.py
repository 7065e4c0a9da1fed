"""Records in files: documents that people may edit, and shards."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.in_memory.records import RecordTable
from chatbot.adapters.storage.json_files.documents import Document
from chatbot.adapters.storage.json_files.record_files import Puts, RecordFiles
from chatbot.adapters.storage.json_files.shards import Shards
from chatbot.domain.ports.records import AnyKind, Condition, Key, Kind, Layout, Record, Records
from chatbot.domain.transaction import KINDS


class RecordStore:
    """The files of all kinds below one folder.

    Args:
        is_serving: see `Document`.
    """

    def __init__(self, root: Path, files: Files, *, is_serving: bool = False) -> None:
        self._root, self._files, self._is_serving = root, files, is_serving
        self._by_kind: dict[AnyKind, RecordFiles[Any]] = {}

    def of(self, kind: Kind[Record]) -> RecordFiles[Record]:
        if kind not in self._by_kind:
            self._by_kind[kind] = (
                Shards(self._root, self._files, kind)
                if kind.layout is Layout.SHARDS
                else Document(self._root, self._files, kind, is_serving=self._is_serving)
            )
        return self._by_kind[kind]

    def open(self) -> None:
        for kind in KINDS:
            self.of(kind).open()

    def has_files(self) -> bool:
        return any(self.of(kind).paths() for kind in KINDS)

    def make_initial(self) -> None:
        """Write the records of a new store, of the kinds that have no files."""
        for kind in KINDS:
            files = self.of(kind)
            if kind.initial and not files.paths():
                with files.locked():
                    if not files.paths():
                        files.change([(record, None) for record in kind.initial])


class JsonRecords(Records):
    """The records as one transaction sees them. Its locks are released when the `with` ends."""

    def __init__(self, store: RecordStore) -> None:
        self._store, self._locks = store, ExitStack()
        self._locked: set[AnyKind] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._locks.close()

    def get(self, kind: Kind[Record], *key: str) -> Record | None:
        return self._store.of(kind).get(key, is_locked=kind in self._locked)

    def find(self, kind: Kind[Record], field: str, value: str) -> Record | None:
        return next(iter(self.page(kind, field=field, value=value)), None)

    def page(
        self,
        kind: Kind[Record],
        *,
        field: str | None = None,
        value: str = "",
        after: Key = (),
        limit: int | None = None,
    ) -> Sequence[Record]:
        return self._store.of(kind).page(
            field=field,
            value=value,
            after=after,
            limit=limit,
            is_locked=kind in self._locked,
        )

    def page_in(
        self,
        kind: Kind[Record],
        *,
        field: str,
        values: Collection[str],
        after: Key = (),
        limit: int | None = None,
    ) -> Sequence[Record]:
        found = self._tables(kind)
        pages = [
            table.page_in(field=field, values=values, after=after, limit=limit) for table in found
        ]
        records = (record for page in pages for record in page)
        return sorted(records, key=kind.key_of)[:limit]

    def count(self, kind: AnyKind, *, field: str, value: str) -> int:
        return sum(table.count(field=field, value=value) for table in self._tables(kind))

    def _tables(self, kind: Kind[Record]) -> Sequence[RecordTable[Record]]:
        return self._store.of(kind).tables(is_locked=kind in self._locked)

    def get_all(self, kind: Kind[Record], keys: Sequence[Key]) -> Sequence[Record]:
        found = (self.get(kind, *key) for key in keys)
        return [record for record in found if record is not None]

    def search(
        self,
        kind: Kind[Record],
        conditions: Sequence[Condition],
        *,
        order_by: str,
        after: str = "",
        limit: int | None = None,
    ) -> Sequence[Record]:
        table = self._store.of(kind).table(is_locked=kind in self._locked)
        return table.search(conditions, order_by=order_by, after=after, limit=limit)

    def put(self, kind: Kind[Record], record: Record, *, expected: Record | None) -> None:
        self.put_all(kind, [(record, expected)])

    def put_all(self, kind: Kind[Record], puts: Puts[Record]) -> None:
        """Store all of them; in a document all or none."""
        with self._writing(kind):
            self._store.of(kind).change(puts)

    def remove(self, kind: Kind[Record], *key: str) -> None:
        with self._writing(kind):
            self._store.of(kind).change([], [key])

    def drop_expired(self, kind: Kind[Record], now: datetime) -> int:
        with self._writing(kind):
            expired = [kind.key_of(each) for each in self.page(kind) if kind.has_expired(each, now)]
            if expired:
                self._store.of(kind).change([], expired)
        return len(expired)

    def exclusive(self, kind: AnyKind) -> None:
        if kind not in self._locked:
            self._locks.enter_context(self._store.of(kind).locked())
            self._locked.add(kind)

    def _writing(self, kind: AnyKind) -> AbstractContextManager[None]:
        return nullcontext() if kind in self._locked else self._store.of(kind).locked()
