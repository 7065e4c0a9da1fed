"""Records in the memory of this process, found by key and by unique field."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic

from chatbot.domain.errors import Conflict
from chatbot.domain.ports.records import AnyKind, Condition, Key, Kind, Match, Record, Records

_AT_ONCE = 500
"""How many records a search checks before it counts its results."""


class _Ordered(Generic[Record]):
    """Records in an order, and the values of their fields, which take longer to derive than to compare."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self._columns: dict[str, Sequence[str]] = {}

    def column(self, field: str) -> Sequence[str]:
        if field not in self._columns:
            self._columns[field] = [getattr(record, field) for record in self.records]
        return self._columns[field]


def _fitting(numbers: Sequence[int], column: Sequence[str], condition: Condition) -> Sequence[int]:
    """The numbers at which the column meets the condition."""
    value = condition.value
    match condition.match:
        case Match.EQUAL:
            return [number for number in numbers if column[number] == value]
        case Match.HOLDING:
            return [number for number in numbers if value in column[number]]
        case Match.AFTER:
            return [number for number in numbers if column[number] > value]
        case Match.UP_TO:
            return [number for number in numbers if column[number] <= value]


class RecordTable(Generic[Record]):
    """Records of one kind.

    Raises:
        Conflict: two of them have the same key, or the same value of a unique field.
    """

    def __init__(self, kind: Kind[Record], records: Iterable[Record] = ()) -> None:
        self._kind = kind
        self.by_key: dict[Key, Record] = {}
        self._by_field: dict[str, dict[str, Record]] = {field: {} for field in kind.unique}
        self._in_order: dict[str, _Ordered[Record]] = {}
        self._by_value: dict[str, Mapping[str, Sequence[Key]]] = {}
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

    def page_in(
        self, *, field: str, values: Collection[str], after: Key, limit: int | None
    ) -> Sequence[Record]:
        known = self._keys_by_value(field)
        wanted = frozenset(values)
        chosen = [each for each in known if each in wanted] if len(wanted) > len(known) else wanted
        keys = sorted(key for each in chosen for key in known.get(each, ()) if key > after)
        return [self.by_key[key] for key in keys[:limit]]

    def count(self, *, field: str, value: str) -> int:
        return len(self._keys_by_value(field).get(value, ()))

    def _keys_by_value(self, field: str) -> Mapping[str, Sequence[Key]]:
        """The keys of the records by the value of a field; kept until a record changes."""
        if field not in self._by_value:
            found: dict[str, list[Key]] = {}
            for key, record in self.by_key.items():
                found.setdefault(getattr(record, field), []).append(key)
            self._by_value[field] = found
        return self._by_value[field]

    def search(
        self, conditions: Sequence[Condition], *, order_by: str, after: str, limit: int | None
    ) -> Sequence[Record]:
        ordered = self._ordered(order_by)
        values = ordered.column(order_by)
        columns = [(each, ordered.column(each.field)) for each in conditions]
        found: list[Record] = []
        for first in range(bisect_right(values, after), len(values), _AT_ONCE):
            chosen: Sequence[int] = range(first, min(first + _AT_ONCE, len(values)))
            for condition, column in columns:
                chosen = _fitting(chosen, column, condition)
            found += [ordered.records[number] for number in chosen]
            if limit is not None and len(found) >= limit:
                break
        return found[:limit]

    def _ordered(self, field: str) -> "_Ordered[Record]":
        """The records in the order of a unique field; kept until one changes."""
        if field not in self._in_order:
            by_value = self._by_field[field]
            self._in_order[field] = _Ordered([by_value[value] for value in sorted(by_value)])
        return self._in_order[field]

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
        self._in_order, self._by_value = {}, {}
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

    def page_in(
        self,
        kind: Kind[Record],
        *,
        field: str,
        values: Collection[str],
        after: Key = (),
        limit: int | None = None,
    ) -> Sequence[Record]:
        return self._of(kind).page_in(field=field, values=values, after=after, limit=limit)

    def count(self, kind: AnyKind, *, field: str, value: str) -> int:
        return self._of(kind).count(field=field, value=value)

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
        """No-op: there are no other writers."""

    def _of(self, kind: Kind[Record]) -> RecordTable[Record]:
        if kind not in self._tables:
            self._tables[kind] = RecordTable(kind, kind.initial)
        return self._tables[kind]
