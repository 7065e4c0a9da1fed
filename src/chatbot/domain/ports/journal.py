"""The port to journals: entries that are appended and never changed, such as an audit trail."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chatbot.domain.errors import Conflict

JOURNALS: tuple[str, ...] = ("audit",)
"""The names of all journals, which are exported, backed up and restored."""

_PAGE = 500

Content = Mapping[str, object]
"""JSON: texts, whole numbers, booleans, None, and lists and objects of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """An entry; `seq` counts the entries of its journal from 1 without gaps."""

    journal: str
    seq: int
    at: datetime
    content: Content


class Journal(Protocol):
    """The journals of a store, shared by all its processes. One without entries costs nothing."""

    @abstractmethod
    def append(
        self, journal: str, compose: Callable[[JournalEntry | None], Content], *, at: datetime
    ) -> JournalEntry:
        """Append what `compose` returns for the last entry, or None if there is none.

        Nothing is appended in between, so that an entry can hold a digest of the one before. The
        entry is durable when the transaction returns. Where a store undoes nothing, it stays even
        if the transaction fails later. An exception of `compose` appends nothing.

        Raises:
            StorageUnavailable: the journal is damaged; nothing was appended.
        """

    @abstractmethod
    def read(self, journal: str, *, after: int = 0, limit: int) -> Sequence[JournalEntry]:
        """Return the entries after this number, the oldest first, at most `limit`.

        Raises:
            StorageUnavailable: one of them is damaged.
        """

    @abstractmethod
    def last(self, journal: str) -> JournalEntry | None:
        """Return the newest entry."""


def entries_of(source: Journal, journal: str) -> Iterator[JournalEntry]:
    """Yield all entries, some at a time."""
    after = 0
    while page := source.read(journal, after=after, limit=_PAGE):
        yield from page
        after = page[-1].seq


def entry_like(entry: JournalEntry, target: Journal) -> JournalEntry | None:
    """Return the entry with the same number in the same journal of another store."""
    return next(iter(target.read(entry.journal, after=entry.seq - 1, limit=1)), None)


def copy_entry(entry: JournalEntry, target: Journal) -> None:
    """Append an entry to the same journal of another store, with the same number.

    Raises:
        Conflict: the target does not end with the entry before.
    """

    def content(last: JournalEntry | None) -> Content:
        if entry.seq != (last.seq if last else 0) + 1:
            raise Conflict("The entry does not follow the last one of the journal.")
        return entry.content

    target.append(entry.journal, content, at=entry.at)
