"""Erasures of people, and the removal of the records about a person."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from chatbot.domain.erasure import Erasure
from chatbot.domain.identity import UserId
from chatbot.domain.ports.records import AnyKind, Kind, Records

ERASURES = Kind(
    name="erasures", singular="erasure", type=Erasure, key=("user_id",), expires_at="expires_at"
)


class Erasures:
    """The erasures in progress, and those that have just ended."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def of(self, user_id: UserId) -> Erasure | None:
        """Return the erasure of this person, or None."""
        return self._records.get(ERASURES, user_id)

    def all(self) -> Sequence[Erasure]:
        return self._records.page(ERASURES)

    def put(self, erasure: Erasure) -> Erasure:
        """Store the state of an erasure, and return it."""
        old = self.of(erasure.user_id)
        if old != erasure:
            self._records.put(ERASURES, erasure, expected=old)
        return erasure

    def drop_expired(self, now: datetime) -> int:
        return self._records.drop_expired(ERASURES, now)

    def remove_records(self, user_id: UserId, kinds: Iterable[AnyKind]) -> dict[str, int]:
        """Remove the records of these kinds about a person, and count them by kind."""
        counts = {kind.name: self._remove_of(kind, user_id) for kind in kinds if kind.subject}
        return {name: count for name, count in counts.items() if count}

    def _remove_of(self, kind: AnyKind, user_id: UserId) -> int:
        keys = [kind.key_of(record) for record in self._about(kind, user_id)]
        for key in keys:
            self._records.remove(kind, *key)
        return len(keys)

    def _about(self, kind: AnyKind, user_id: UserId) -> Iterable[object]:
        """Yield the records, found by an index if the field has one."""
        field = kind.subject or ""
        if field in {*kind.unique, *kind.indexed}:
            found = self._records.page(kind, field=field, value=user_id)
        elif kind.key == (field,):
            found = [each for each in [self._records.get(kind, user_id)] if each is not None]
        else:
            found = self._records.page(kind)
        return [each for each in found if kind.is_about(each, user_id)]
