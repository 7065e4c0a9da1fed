"""How entries of journals are found by labels and by time, in bounded work.

For each label there is a list of numbers. A page is found along the rarest of its labels, at most
`SCAN` entries far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, bindparam, func, literal, select, text

from chatbot.adapters.storage.sql.database import SqlSession, number_of
from chatbot.adapters.storage.sql.tables import journal_blocks, journal_entries, journal_labels
from chatbot.domain.ports.journal import JournalEntry, JournalKind, JournalQuery, Label

BLOCK = 1024
SCAN, _FEW = 10_000, 100
"""How many entries a page looks at, at most, and how many are few."""

_ENTRY, _LIST, _BLOCKS = journal_entries.c, journal_labels.c, journal_blocks.c
_AHEAD = (
    select(_LIST.seq)
    .where(_LIST.label == bindparam("l"), _LIST.seq > bindparam("a"))
    .order_by(_LIST.seq)
    .limit(1)
    .offset(bindparam("n"))
)
_OF_JOURNAL = _BLOCKS.journal == bindparam("j")
_LAST_BLOCK = select(func.max(_BLOCKS.seq)).where(_OF_JOURNAL)
_FIRST_SINCE = select(func.min(_BLOCKS.seq)).where(_OF_JOURNAL, _BLOCKS.last_at >= bindparam("s"))
_LAST_UNTIL = select(func.max(_BLOCKS.seq)).where(_OF_JOURNAL, _BLOCKS.first_at < bindparam("u"))
_NEWEST_UNTIL = select(func.max(_ENTRY.seq)).where(
    _ENTRY.journal == bindparam("j"),
    _ENTRY.seq > bindparam("a"),
    _ENTRY.at < bindparam("u"),
)
_SINCE = select(func.min(_ENTRY.seq)).where(
    _ENTRY.journal == bindparam("j"),
    _ENTRY.seq > bindparam("a"),
    _ENTRY.seq <= bindparam("b"),
    _ENTRY.at >= bindparam("s"),
)
_REMOVE_LABEL = text("DELETE FROM journal_labels WHERE label = :label AND seq = :seq")
_REMOVE_BLOCKS = text("DELETE FROM journal_blocks WHERE journal = :j AND seq <= :e")
_ADD_LABEL = text(
    "INSERT INTO journal_labels (label, seq) VALUES (:label, :seq) ON CONFLICT DO NOTHING"
)
_ADD_BLOCK = text(
    "INSERT INTO journal_blocks (journal, seq, first_at, last_at) "
    "SELECT journal, CAST(:b AS bigint), min(at), max(at) FROM journal_entries "
    "WHERE journal = :j AND seq > :a AND seq <= :b GROUP BY journal "
    "ON CONFLICT (journal, seq) DO UPDATE "
    "SET first_at = excluded.first_at, last_at = excluded.last_at"
)
"""Overwrites rows that remain after entries were removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A statement that returns the rows that may match after a number `a`, at most `n`.

    They have the indexed labels; moments are not among its conditions, so that no planner bases the
    order of its work on them.

    `low` is the number after which to begin, `next_after` where to go on after all of its rows.
    """

    statement: Select[Any]
    values: Mapping[str, object]
    low: int
    next_after: int | None


class JournalIndex:
    """The lists of labels and the blocks, in one transaction."""

    def __init__(self, sql: SqlSession) -> None:
        self._sql = sql

    def add(self, journal: JournalKind, entries: Sequence[JournalEntry]) -> None:
        """Index entries that were just appended."""
        rows = self._rows(journal, entries)
        if rows:
            self._sql.write_all(_ADD_LABEL, rows)
        first, last = entries[0].seq, entries[-1].seq
        for end in range(-(-first // BLOCK) * BLOCK, last + 1, BLOCK):
            self._sql.write(_ADD_BLOCK, {"j": journal.name, "a": end - BLOCK, "b": end})

    def remove(self, journal: JournalKind, entries: Sequence[JournalEntry]) -> None:
        """Remove the oldest entries, which are about to be pruned, from the index."""
        rows = self._rows(journal, entries)
        if rows:
            self._sql.write_all(_REMOVE_LABEL, rows)
        self._sql.write(_REMOVE_BLOCKS, {"j": journal.name, "e": entries[-1].seq})

    def first_since(self, journal: JournalKind, moment: datetime, last_seq: int) -> int:
        """Return the number of the first entry at or after a moment; that after the last if there
        is none.
        """
        low, _ = self._period(journal, JournalQuery(since=moment), 0, last_seq)
        values = {"j": journal.name, "a": low, "b": low + 2 * BLOCK, "s": moment}
        found = self._number(_SINCE, values)
        return last_seq + 1 if found is None else found

    def search(
        self, journal: JournalKind, query: JournalQuery, *, after: int, last_seq: int
    ) -> Search:
        """Return how to find the next entries."""
        low, high = self._period(journal, query, after, query.up_to or last_seq)
        digests = [digest_of(journal, label) for label in query.labels if journal.is_indexed(label)]
        rarest, bound = self._rarest(digests, low, high)
        values: dict[str, object] = {"j": journal.name, "b": bound}
        conditions = [_ENTRY.journal == bindparam("j")]
        number = _ENTRY.seq if rarest is None else _LIST.seq
        statement = select(journal_entries)
        if rarest is not None:
            statement = statement.join(journal_labels, _LIST.seq == _ENTRY.seq)
            conditions.append(_LIST.label == bindparam("l"))
            values["l"] = rarest
        for position, digest in enumerate(each for each in digests if each != rarest):
            other = journal_labels.alias(f"other_{position}")
            name = f"l{position}"
            also = and_(other.c.label == bindparam(name), other.c.seq == number)
            conditions.append(select(literal(1)).where(also).exists())
            values[name] = digest
        conditions += [number > bindparam("a"), number <= bindparam("b")]
        return Search(
            statement=statement.where(*conditions).order_by(number).limit(bindparam("n")),
            values=values,
            low=low,
            next_after=bound if bound < high else None,
        )

    def _period(
        self, journal: JournalKind, query: JournalQuery, low: int, high: int
    ) -> tuple[int, int]:
        """Return after which number, and up to which one, entries of the period can be."""
        values = {"j": journal.name}
        if query.since is not None:
            block = self._number(_FIRST_SINCE, {**values, "s": query.since})
            begin = self._number(_LAST_BLOCK, values) if block is None else block - BLOCK
            low = max(low, begin or 0)
        if query.until is not None:
            end = self._number(_LAST_BLOCK, values) or 0
            newest = self._number(_NEWEST_UNTIL, {**values, "a": end, "u": query.until})
            if newest is None:
                newest = self._number(_LAST_UNTIL, {**values, "u": query.until})
            high = min(high, newest or 0)
        return low, high

    def _rarest(self, digests: Sequence[int], low: int, high: int) -> tuple[int | None, int]:
        """Return the label whose next `SCAN` entries reach furthest, and how far they do."""
        if not digests:
            return None, min(high, low + SCAN)
        for count in (_FEW, SCAN):
            reaches = [self._reach(digest, count, low, high) for digest in digests]
            furthest = max(reaches)
            if furthest == high:
                break
        return digests[reaches.index(furthest)], furthest

    def _reach(self, digest: int, count: int, low: int, high: int) -> int:
        """Return the number of the entry that is `count` further in a list, or `high` if that is before."""
        ahead = self._number(_AHEAD, {"l": digest, "a": low, "n": count - 1})
        return high if ahead is None else min(ahead, high)

    def _rows(
        self, journal: JournalKind, entries: Sequence[JournalEntry]
    ) -> Sequence[Mapping[str, object]]:
        return [
            {"label": digest_of(journal, label), "seq": entry.seq}
            for entry in entries
            for label in journal.indexed_labels(entry.content)
        ]

    def _number(self, query: Select[Any], values: Mapping[str, object]) -> int | None:
        row = self._sql.row(query, values)
        return None if row is None else row[0]


def digest_of(journal: JournalKind, label: Label) -> int:
    """Return the number under which a label is stored."""
    return number_of("\0".join((journal.name, *label)))
