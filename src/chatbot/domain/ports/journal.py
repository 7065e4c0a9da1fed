"""The port to journals: entries that are appended and never changed, such as an audit trail."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chatbot.domain.errors import Conflict

_PAGE = 500

Content = Mapping[str, object]
"""JSON: texts, whole numbers, booleans, None, and lists and objects of them."""

Label = tuple[str, str]
"""A filter and a value by which it finds an entry, such as `("action", "user.create")`."""


def _no_labels(_: Content) -> Iterable[Label]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalKind:
    """A journal, and how its entries are found.

    `labels` returns those of an entry, which never change; each value is one of the texts of its
    content. `is_indexed` tells whether an index helps, which it does not for a label that most
    entries have.
    """

    name: str
    labels: Callable[[Content], Iterable[Label]] = _no_labels
    is_indexed: Callable[[Label], bool] = lambda _: True

    def indexed_labels(self, content: Content) -> frozenset[Label]:
        """Return the labels by which a store should find the entry fast."""
        return frozenset(filter(self.is_indexed, self.labels(content)))


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """An entry; `seq` counts the entries of its journal from 1 without gaps."""

    journal: str
    seq: int
    at: datetime
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalQuery:
    """Which entries to find: those with all these labels, from `since` to before `until`.

    `up_to` is the number of the last entry to search.
    """

    labels: frozenset[Label] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    up_to: int | None = None

    def matches(self, kind: JournalKind, entry: JournalEntry) -> bool:
        """Whether the entry is one of them."""
        return (
            (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at < self.until)
            and (self.up_to is None or entry.seq <= self.up_to)
            and (not self.labels or self.labels <= frozenset(kind.labels(entry.content)))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalPage:
    """A page of entries. `next_after` is where the next page begins; None if there are no more."""

    entries: Sequence[JournalEntry]
    next_after: int | None = None

    @classmethod
    def of(cls, found: Sequence[JournalEntry], limit: int) -> "JournalPage":
        """Return the page of the first `limit` entries; more means that others follow."""
        has_more = len(found) > limit
        return cls(entries=found[:limit], next_after=found[limit - 1].seq if has_more else None)


Compose = Callable[[JournalEntry | None], Sequence[JournalEntry]]
"""Returns the entries to append after the last one, or after None if there is none."""

Record = Callable[[JournalEntry, JournalEntry], JournalEntry]
"""Returns the entry that records a pruning, for the last pruned entry and the newest one."""


class Journal(Protocol):
    """The journals of a store, shared by all its processes. Empty journals cost nothing."""

    @abstractmethod
    def extend(self, journal: JournalKind, compose: Compose) -> Sequence[JournalEntry]:
        """Append what `compose` returns for the last entry, and return it.

        Nothing is appended in between, so that an entry can hold a digest of the one before. The
        entries are durable when the transaction returns. Where a store undoes nothing, they stay
        even if the transaction fails later, and a power failure may leave only the first of them.
        An exception of `compose` appends nothing.

        Raises:
            StorageUnavailable: the journal is damaged; nothing was appended.
        """

    @abstractmethod
    def read(self, journal: JournalKind, *, after: int = 0, limit: int) -> Sequence[JournalEntry]:
        """Return the entries after this number, oldest first, at most `limit`.

        Raises:
            StorageUnavailable: one of them is damaged.
        """

    @abstractmethod
    def find(
        self, journal: JournalKind, query: JournalQuery, *, after: int = 0, limit: int
    ) -> JournalPage:
        """Return matching entries after this number, oldest first, at most `limit`.

        It takes bounded time, because it searches a limited number of entries, so a page may be
        short or empty although more follow.
        """

    @abstractmethod
    def prune(self, journal: JournalKind, before: datetime, record: Record) -> int:
        """Remove a batch of the oldest entries from before a moment, and return their number.

        First appends the entry that `record` returns for the last removed and the newest entry, so
        that the new beginning of the journal is recorded. The newest entry stays. Call again until
        it returns 0.
        """

    @abstractmethod
    def last(self, journal: JournalKind) -> JournalEntry | None:
        """Return the newest entry."""

    def append(
        self,
        journal: JournalKind,
        compose: Callable[[JournalEntry | None], Content],
        *,
        at: datetime,
    ) -> JournalEntry:
        """Append one entry with the content that `compose` returns for the last one: see `extend`."""

        def entry(last: JournalEntry | None) -> Sequence[JournalEntry]:
            seq = 1 if last is None else last.seq + 1
            return [JournalEntry(journal=journal.name, seq=seq, at=at, content=compose(last))]

        [appended] = self.extend(journal, entry)
        return appended


def entries_of(source: Journal, journal: JournalKind) -> Iterator[JournalEntry]:
    """Yield all entries in batches."""
    after = 0
    while page := source.read(journal, after=after, limit=_PAGE):
        yield from page
        after = page[-1].seq


def copy_entries(
    entries: Sequence[JournalEntry], journal: JournalKind, target: Journal
) -> Sequence[JournalEntry]:
    """Append entries to the same journal of another store, with the same numbers.

    Raises:
        Conflict: they do not follow the last one of the target. Any entry may be the first of an
            empty journal, because older ones may have been pruned.
    """

    def following(last: JournalEntry | None) -> Sequence[JournalEntry]:
        first = entries[0].seq if last is None else last.seq + 1
        if [entry.seq for entry in entries] != list(range(first, first + len(entries))):
            raise Conflict("The entry does not follow the last one of the journal.")
        return entries

    return target.extend(journal, following) if entries else ()
