"""Journals as rows. A lock that lasts until the end of the transaction leaves no gaps."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Row, bindparam, insert, select

from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.tables import journal_entries
from chatbot.domain.ports.journal import Content, Journal, JournalEntry

_OF_JOURNAL = select(journal_entries).where(journal_entries.c.journal == bindparam("j"))
_LAST = _OF_JOURNAL.order_by(journal_entries.c.seq.desc()).limit(1)
_AFTER = (
    _OF_JOURNAL.where(journal_entries.c.seq > bindparam("a"))
    .order_by(journal_entries.c.seq)
    .limit(bindparam("n"))
)


class SqlJournal(Journal):
    """The journals as one transaction sees them."""

    def __init__(self, sql: SqlSession) -> None:
        self._sql = sql

    def append(
        self, journal: str, compose: Callable[[JournalEntry | None], Content], *, at: datetime
    ) -> JournalEntry:
        self._sql.lock_names([f"{journal_entries.name} {journal}"])
        last = self.last(journal)
        seq = 1 if last is None else last.seq + 1
        content = dict(compose(last))
        self._sql.write(
            insert(journal_entries),
            {"journal": journal, "seq": seq, "at": at, "content": content},
        )
        return JournalEntry(journal=journal, seq=seq, at=at, content=content)

    def read(self, journal: str, *, after: int = 0, limit: int) -> Sequence[JournalEntry]:
        rows = self._sql.rows(_AFTER, {"j": journal, "a": after, "n": limit})
        return [_entry_of(row) for row in rows]

    def last(self, journal: str) -> JournalEntry | None:
        row = self._sql.row(_LAST, {"j": journal})
        return None if row is None else _entry_of(row)


def _entry_of(row: Row[tuple[str, int, datetime, Content]]) -> JournalEntry:
    return JournalEntry(journal=row.journal, seq=row.seq, at=row.at, content=row.content)
