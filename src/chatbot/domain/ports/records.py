"""The port to records: small objects with a key, which all stores handle alike.

Everything specific to a kind of record is in its `Kind`, never in a store.
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

Record = TypeVar("Record")
Key = tuple[str, ...]
"""The values of the key fields, in order."""


class Layout(StrEnum):
    """How JSON files hold the records of a kind."""

    LIST = "list"
    """One document with a list of records, which people may edit."""
    OBJECT = "object"
    """One document with an object: each record by its key, which people may edit."""
    SHARDS = "shards"
    """Files with checksums, each for some of the keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRule:
    """What an edit of a document raises: a whole number of the record.

    An edit that changes one of the fields `of` without a higher number raises it to `after` the
    number that was in force, so that an edit that is taken back revives nothing. `moments` are more
    such fields, of times that may be None.
    """

    field: str
    of: tuple[str, ...]
    moments: tuple[str, ...] = ()
    after: Callable[[int], int]


class Match(StrEnum):
    """How a field is compared with the value of a condition, by code points."""

    EQUAL = "equal"
    HOLDING = "holding"
    """The field contains the value; every text contains the empty one."""
    AFTER = "after"
    UP_TO = "up to"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition on a unique or derived field of a record."""

    field: str
    match: Match
    value: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind(Generic[Record]):
    """One kind of record: a dataclass, and how its records are found and kept.

    `name` is that of its table, document or folder; `singular` is the display name of one. Fields of
    `key`, `unique` and `indexed` are text. `derived` are properties of text, which are stored beside
    the record so that lists can be filtered by them; a migration fills a new one. `initial` are the records of a new store.
    `supersedes(new, old)`: whether the one is the same or a later state of the other, so that a
    copy of the store may replace it.
    `subject` is the field with the id of the person whom a record is about: such records are erased
    with the person. With `is_personal`, only those for which it returns True.
    `is_work`: the records are work to do and contain nothing but ids. Removing one need not erase it
    from the disk at once, which others would wait for.
    `misnomers` are keys that people may write in a document where they mean a field.
    """

    name: str
    singular: str
    type: type[Record]
    key: tuple[str, ...]
    unique: tuple[str, ...] = ()
    indexed: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    expires_at: str | None = None
    layout: Layout = Layout.SHARDS
    folder: str = "records"
    edit_rule: EditRule | None = None
    initial: tuple[Record, ...] = ()
    supersedes: Callable[[Record, Record], bool] | None = None
    subject: str | None = None
    misnomers: Mapping[str, str] = field(default_factory=dict)
    is_personal: Callable[[Record], bool] | None = None
    is_work: bool = False

    def is_about(self, record: Record, user_id: str) -> bool:
        """Whether the record is about this person."""
        if self.subject is None or getattr(record, self.subject) != user_id:
            return False
        return self.is_personal is None or self.is_personal(record)

    def key_of(self, record: Record) -> Key:
        return tuple(getattr(record, field) for field in self.key)

    def label(self, record: Record) -> str:
        """The display name of the record, made of its key, because other fields may be personal."""
        return f"{self.singular} {' '.join(self.key_of(record))}"

    def has_expired(self, record: Record, now: datetime) -> bool:
        moment = None if self.expires_at is None else getattr(record, self.expires_at)
        return moment is not None and moment <= now


AnyKind = Kind[Any]


class Records(Protocol):
    """The records of all kinds, as one transaction sees them."""

    @abstractmethod
    def get(self, kind: Kind[Record], *key: str) -> Record | None:
        """Return the record with this key, or None."""

    @abstractmethod
    def find(self, kind: Kind[Record], field: str, value: str) -> Record | None:
        """Return the record with this value of a unique field, or None."""

    @abstractmethod
    def page(
        self,
        kind: Kind[Record],
        *,
        field: str | None = None,
        value: str = "",
        after: Key = (),
        limit: int | None = None,
    ) -> Sequence[Record]:
        """Return records in the order of their keys, from the first key after `after`.

        With an indexed or unique `field`: those with this value of it.
        """

    @abstractmethod
    def page_in(
        self,
        kind: Kind[Record],
        *,
        field: str,
        values: Collection[str],
        after: Key = (),
        limit: int | None = None,
    ) -> Sequence[Record]:
        """Return the records with one of these values of an indexed field, ordered as by `page`.

        Records with other values are not read.
        """

    @abstractmethod
    def count(self, kind: AnyKind, *, field: str, value: str) -> int:
        """Return how many records have this value of an indexed field."""

    @abstractmethod
    def get_all(self, kind: Kind[Record], keys: Sequence[Key]) -> Sequence[Record]:
        """Return the existing records with these keys, in any order."""

    @abstractmethod
    def search(
        self,
        kind: Kind[Record],
        conditions: Sequence[Condition],
        *,
        order_by: str,
        after: str = "",
        limit: int | None = None,
    ) -> Sequence[Record]:
        """Return the records that meet all conditions.

        They are in the order of the unique field `order_by`, from the first value after `after`.
        """

    @abstractmethod
    def put(self, kind: Kind[Record], record: Record, *, expected: Record | None) -> None:
        """Store a new record, or replace the `expected` one, which has the same key.

        Raises:
            Conflict: the stored record is not the expected one, or another record has the value of
                a unique field.
        """

    @abstractmethod
    def remove(self, kind: Kind[Record], *key: str) -> None:
        """Remove the record with this key; no-op if absent."""

    @abstractmethod
    def drop_expired(self, kind: Kind[Record], now: datetime) -> int:
        """Remove the expired records, and return their number."""

    @abstractmethod
    def exclusive(self, kind: AnyKind) -> None:
        """Lock out other writers of this kind until the transaction ends.

        Data read afterwards cannot change before it is written.
        """
