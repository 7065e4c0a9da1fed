"""The records of one kind in memory, found by key and by unique field."""

from collections.abc import Iterable, Sequence
from typing import Generic

from chatbot.domain.errors import Conflict
from chatbot.domain.ports.records import Key, Kind, Record


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
