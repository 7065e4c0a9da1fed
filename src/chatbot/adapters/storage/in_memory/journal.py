"""Journals in lists."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice, takewhile

from chatbot.domain.ports.journal import (
    Compose,
    Journal,
    JournalEntry,
    JournalKind,
    JournalPage,
    JournalQuery,
    Record,
)


class InMemoryJournal(Journal):
    """The entries of each journal, by its name."""

    def __init__(self) -> None:
        self._entries: dict[str, list[JournalEntry]] = {}

    def extend(self, journal: JournalKind, compose: Compose) -> Sequence[JournalEntry]:
        appended = compose(self.last(journal))
        self._entries.setdefault(journal.name, []).extend(appended)
        return appended

    def read(self, journal: JournalKind, *, after: int = 0, limit: int) -> Sequence[JournalEntry]:
        return list(islice(self._after(journal, after), limit))

    def find(
        self, journal: JournalKind, query: JournalQuery, *, after: int = 0, limit: int
    ) -> JournalPage:
        entries = (each for each in self._after(journal, after) if query.matches(journal, each))
        found = list(islice(entries, limit + 1))
        return JournalPage.of(found, limit)

    def prune(self, journal: JournalKind, before: datetime, record: Record) -> int:
        entries = self._entries.get(journal.name, [])
        old = list(takewhile(lambda entry: entry.at < before, entries[:-1]))
        if old:
            entries.append(record(old[-1], entries[-1]))
            del entries[: len(old)]
        return len(old)

    def last(self, journal: JournalKind) -> JournalEntry | None:
        entries = self._entries.get(journal.name)
        return entries[-1] if entries else None

    def _after(self, journal: JournalKind, after: int) -> Sequence[JournalEntry]:
        entries = self._entries.get(journal.name, [])
        return entries[max(0, after - entries[0].seq + 1) :] if entries else entries
