"""Checks that the index of a journal finds each entry, because anyone who can write to it could
hide some.
"""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import bindparam, func, select

from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.journal_index import BLOCK, digest_of
from chatbot.adapters.storage.sql.tables import journal_blocks, journal_labels
from chatbot.domain.ports.journal import JournalEntry, JournalKind

_AT_ONCE = 128
_LIST, _BLOCKS = journal_labels.c, journal_blocks.c
_LISTED = select(_LIST.label, _LIST.seq).where(
    _LIST.label.in_(bindparam("labels", expanding=True)),
    _LIST.seq >= bindparam("first"),
    _LIST.seq <= bindparam("last"),
)
_BLOCK = select(_BLOCKS.first_at, _BLOCKS.last_at).where(
    _BLOCKS.journal == bindparam("j"), _BLOCKS.seq == bindparam("b")
)
_LAST_BLOCK = select(func.max(_BLOCKS.seq)).where(_BLOCKS.journal == bindparam("j"))


def hidden_entries(
    sql: SqlSession, journal: JournalKind, entries: Iterable[JournalEntry]
) -> Iterator[int]:
    """Yield the numbers of entries that a search by label or by time may miss."""
    last = 0
    for block in _blocks(entries):
        last = block[-1].seq
        yield from _hidden_in(sql, journal, block)
    row = sql.row(_LAST_BLOCK, {"j": journal.name})
    if row is not None and row[0] is not None and row[0] > last > 0:
        # A block of entries that do not exist: a search by time goes on behind it.
        yield from range(last // BLOCK * BLOCK + 1, last + 1)


def _hidden_in(
    sql: SqlSession, journal: JournalKind, block: Sequence[JournalEntry]
) -> Iterator[int]:
    first, last = block[0].seq, block[-1].seq
    if last % BLOCK == 0:
        row = sql.row(_BLOCK, {"j": journal.name, "b": last})
        times = [entry.at for entry in block]
        if row is None or row.first_at > min(times) or row.last_at < max(times):
            yield from range(first, last + 1)
            return
    for begin in range(0, len(block), _AT_ONCE):
        yield from _unlisted(sql, journal, block[begin : begin + _AT_ONCE])


def _unlisted(
    sql: SqlSession, journal: JournalKind, entries: Sequence[JournalEntry]
) -> Iterator[int]:
    wanted = {
        entry.seq: {digest_of(journal, label) for label in journal.indexed_labels(entry.content)}
        for entry in entries
    }
    labels = sorted(set().union(*wanted.values()))
    values = {"labels": labels, "first": entries[0].seq, "last": entries[-1].seq}
    listed = {(row.label, row.seq) for row in sql.rows(_LISTED, values)}
    for seq, digests in wanted.items():
        if any((digest, seq) not in listed for digest in digests):
            yield seq


def _blocks(entries: Iterable[JournalEntry]) -> Iterator[Sequence[JournalEntry]]:
    """Yield the entries by the blocks of the index."""
    block: list[JournalEntry] = []
    for entry in entries:
        if block and (entry.seq - 1) // BLOCK != (block[0].seq - 1) // BLOCK:
            yield block
            block = []
        block.append(entry)
    if block:
        yield block
