"""Records in the memory of this process, found by key and by unique field."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Generic

from chatbot.domain.errors import Conflict
from chatbot.domain.ports.records import AnyKind, Condition, Key, Kind, Record, Records


class RecordTable(Generic[Record]):
    """Records of one kind.

    Raises:
        Conflict: two of them have the same key, or the same value of a unique field.
    """

    def __init__(self, kind: Kind[Record], records: Iterable[Record] = ()) -> None:
        self._kind = kind
        self.by_key: dict[Key, Record] = {}
        self._by_field: dict[str, dict[str, Record]] = {field: {} for field in kind.unique}
        self._in_order: dict[str, list[str]] = {}
        self._derived: dict[str, dict[Key, str]] = {}
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

    def search(
        self, conditions: Sequence[Condition], *, order_by: str, after: str, limit: int | None
    ) -> Sequence[Record]:
        values, records = self._values_of(order_by), self._by_field[order_by]
        later = (records[value] for value in values[bisect_right(values, after) :])
        columns = [(self._column_of(each.field), each) for each in conditions]
        key_of = self._kind.key_of
        found = (
            record
            for record in later
            if all(condition.fits(column[key_of(record)]) for column, condition in columns)
        )
        return list(islice(found, limit))

    def _values_of(self, field: str) -> list[str]:
        """The values of a unique field, in order; kept until a record changes."""
        if field not in self._in_order:
            self._in_order[field] = sorted(self._by_field[field])
        return self._in_order[field]

    def _column_of(self, field: str) -> Mapping[Key, str]:
        """The values of a field, by key; kept, since deriving them takes longer than comparing."""
        if field not in self._derived:
            self._derived[field] = {
                key: getattr(record, field) for key, record in self.by_key.items()
            }
        return self._derived[field]

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
        for field, column in self._derived.items():
            column[key] = getattr(record, field)
        for field, found in self._by_field.items():
            found[getattr(record, field)] = record

    def remove(self, key: Key) -> Record | None:
        """Remove and return a record; no-op if absent."""
        old = self.by_key.pop(key, None)
        self._in_order = {}
        for column in self._derived.values():
            column.pop(key, None)
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

    def get_all(self, kind: Kind[Record], keys: Sequence[Key]) -> Sequence[Record]:
        found = self._of(kind).by_key
        return [found[key] for key in keys if key in found]

    def search(
        self,
        kind: Kind[Record],
        conditions: Sequence[Condition],
        *,
        order_by: str,
        after: str = "",
        limit: int | None = None,
    ) -> Sequence[Record]:
        return self._of(kind).search(conditions, order_by=order_by, after=after, limit=limit)

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
