"""Journals as rows. A lock that lasts until the end of the transaction leaves no gaps."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection, Row, Text, bindparam, cast, delete, insert, select

from chatbot.adapters.storage.json_values import json_object, number, timestamp
from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.journal_index import JournalIndex
from chatbot.adapters.storage.sql.tables import journal_entries
from chatbot.domain.ports.export import Unreadable, name_of_entry
from chatbot.domain.ports.journal import (
    Compose,
    Content,
    Journal,
    JournalEntry,
    JournalKind,
    JournalPage,
    JournalQuery,
    Record,
)

_OF_JOURNAL = select(journal_entries).where(journal_entries.c.journal == bindparam("j"))
_LAST = _OF_JOURNAL.order_by(journal_entries.c.seq.desc()).limit(1)
_AFTER = (
    _OF_JOURNAL.where(journal_entries.c.seq > bindparam("a"))
    .order_by(journal_entries.c.seq)
    .limit(bindparam("n"))
)
_PRUNE = delete(journal_entries).where(
    journal_entries.c.journal == bindparam("j"), journal_entries.c.seq <= bindparam("e")
)
_PRUNED_AT_ONCE = 2000
_RAW = (
    select(
        journal_entries.c.journal,
        journal_entries.c.seq,
        cast(journal_entries.c.at, Text).label("at"),
        cast(journal_entries.c.content, Text).label("content"),
    )
    .where(journal_entries.c.journal == bindparam("j"))
    .order_by(journal_entries.c.seq)
    .execution_options(yield_per=500)
)
_ROWS_OF_A_PAGE, _ROWS_AT_ONCE = 2000, 500
"""The maximum number of rows that are decoded for a page, and how many at once."""


class SqlJournal(Journal):
    """The journals as one transaction sees them."""

    def __init__(self, sql: SqlSession) -> None:
        self._sql, self._index = sql, JournalIndex(sql)

    def extend(self, journal: JournalKind, compose: Compose) -> Sequence[JournalEntry]:
        self._lock(journal)
        entries = compose(self.last(journal))
        if entries:
            rows = [
                {"journal": journal.name, "seq": e.seq, "at": e.at, "content": dict(e.content)}
                for e in entries
            ]
            self._sql.write_all(insert(journal_entries), rows)
            self._index.add(journal, entries)
        return entries

    def read(self, journal: JournalKind, *, after: int = 0, limit: int) -> Sequence[JournalEntry]:
        rows = self._sql.rows(_AFTER, {"j": journal.name, "a": after, "n": limit})
        return [entry_of(row) for row in rows]

    def find(
        self, journal: JournalKind, query: JournalQuery, *, after: int = 0, limit: int
    ) -> JournalPage:
        last = self.last(journal)
        if last is None or limit < 1:
            return JournalPage(entries=())
        search = self._index.search(journal, query, after=after, last_seq=last.seq)
        found: list[JournalEntry] = []
        low, batch, looked = search.low, limit + 1, 0
        while looked < _ROWS_OF_A_PAGE:
            rows = self._sql.rows(search.statement, {**search.values, "a": low, "n": batch})
            entries = map(entry_of, rows)
            found += [entry for entry in entries if query.matches(journal, entry)]
            if len(found) > limit:
                return JournalPage.of(found, limit)
            if len(rows) < batch:
                return JournalPage(entries=found, next_after=search.next_after)
            low, looked, batch = rows[-1].seq, looked + batch, min(2 * batch, _ROWS_AT_ONCE)
        return JournalPage(entries=found, next_after=low)

    def prune(self, journal: JournalKind, before: datetime, record: Record) -> int:
        self._lock(journal)
        first, newest = next(iter(self.read(journal, limit=1)), None), self.last(journal)
        if first is None or newest is None:
            return 0
        begin = self._index.first_since(journal, before, newest.seq)
        end = min(begin, newest.seq, first.seq + _PRUNED_AT_ONCE) - 1
        pruned = self.read(journal, limit=end - first.seq + 1) if end >= first.seq else ()
        if not pruned:
            return 0
        recorded = record(pruned[-1], newest)
        self.extend(journal, lambda _: [recorded])
        self._index.remove(journal, pruned)
        self._sql.write(_PRUNE, {"j": journal.name, "e": pruned[-1].seq})
        return len(pruned)

    def _lock(self, journal: JournalKind) -> None:
        self._sql.lock_names([f"{journal_entries.name} {journal.name}"])

    def last(self, journal: JournalKind) -> JournalEntry | None:
        row = self._sql.row(_LAST, {"j": journal.name})
        return None if row is None else entry_of(row)


def entry_of(row: Row[tuple[str, int, datetime, Content]]) -> JournalEntry:
    return JournalEntry(journal=row.journal, seq=row.seq, at=row.at, content=row.content)


def stored_entries(
    connection: Connection, journal: JournalKind
) -> Iterator[JournalEntry | Unreadable]:
    """Yield the rows of a journal in order, including those with invalid content."""
    for row in connection.execute(_RAW, {"j": journal.name}):
        try:
            yield JournalEntry(
                journal=journal.name,
                seq=number(row.seq),
                at=timestamp(row.at),
                content=json_object(json.loads(row.content)),
            )
        except ValueError:
            name = name_of_entry(journal.name, row.seq)
            yield Unreadable(name=name, reason="a value is not valid", seq=row.seq)
