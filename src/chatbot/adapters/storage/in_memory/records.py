"""Records in the memory of this process."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from chatbot.adapters.storage.record_table import RecordTable
from chatbot.domain.ports.records import AnyKind, Key, Kind, Record, Records


class InMemoryRecords(Records):
    """Records that last as long as their process. No two transactions interleave."""

    def __init__(self, records: Mapping[AnyKind, Iterable[object]]) -> None:
        self._tables: dict[AnyKind, RecordTable[Any]] = {
            kind: RecordTable(kind, found) for kind, found in records.items()
        }

    def get(self, kind: Kind[Record], *key: str) -> Record | None:
        return self._of(kind).get(key)

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
        return self._of(kind).page(field=field, value=value, after=after, limit=limit)

    def put(self, kind: Kind[Record], record: Record, *, expected: Record | None) -> None:
        self._of(kind).put(record, expected=expected)

    def remove(self, kind: Kind[Record], *key: str) -> None:
        self._of(kind).remove(key)

    def drop_expired(self, kind: Kind[Record], now: datetime) -> int:
        table = self._of(kind)
        expired = [key for key, record in table.by_key.items() if kind.has_expired(record, now)]
        for key in expired:
            table.remove(key)
        return len(expired)

    def exclusive(self, kind: AnyKind) -> None:
        """There are no other writers."""

    def _of(self, kind: Kind[Record]) -> RecordTable[Record]:
        if kind not in self._tables:
            self._tables[kind] = RecordTable(kind, kind.initial)
        return self._tables[kind]
