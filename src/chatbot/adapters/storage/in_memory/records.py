"""Records in the memory of this process, found by key and by unique field."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic

from chatbot.domain.errors import Conflict
from chatbot.domain.ports.records import AnyKind, Key, Kind, Record, Records


class RecordTable(Generic[Record]):
    """Records of one kind.

    Raises:
        Conflict: two of them have the same key, or the same value of a unique field.
    """

    def __init__(self, kind: Kind[Record], records: Iterable[Record] = ()) -> None:
        self._kind = kind
        self.by_key: dict[Key, Record] = {}
        self._by_field: dict[str, dict[str, Record]] = {field: {} for field in kind.unique}
        for record in records:
            self.put(record, expected=None)

    def get(self, key: Key) -> Record | None:
        return self.by_key.get(key)

    def page(
        self, *, field: str | None = None, value: str = "", after: Key = (), limit: int | None
    ) -> Sequence[Record]:
        if field in self._by_field:
            found = [self._by_field[field][value]] if value in self._by_field[field] else []
        else:
            found = [
                record
                for _, record in sorted(self.by_key.items())
                if field is None or getattr(record, field) == value
            ]
        return [each for each in found if self._kind.key_of(each) > after][:limit]

    def put(self, record: Record, *, expected: Record | None) -> None:
        key = self._kind.key_of(record)
        old = self.by_key.get(key)
        if old != expected:
            raise Conflict(f"The {self._kind.singular} was changed in the meantime. Try again.")
        for field, found in self._by_field.items():
            if found.get(getattr(record, field), old) is not old:
                raise Conflict(f"The {self._kind.singular}'s {field} is already in use.")
        self.remove(key)
        self.by_key[key] = record
        for field, found in self._by_field.items():
            found[getattr(record, field)] = record

    def remove(self, key: Key) -> Record | None:
        """Remove and return a record; no-op if absent."""
        old = self.by_key.pop(key, None)
        for field, found in self._by_field.items() if old is not None else ():
            del found[getattr(old, field)]
        return old


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
