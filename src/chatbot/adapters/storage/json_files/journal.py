"""Journals: for each month a log of checksummed lines, `<journal>/2026-03.jsonl`.

An entry is acknowledged when its line is synced. What a power failure leaves of the last line is
treated as in a session's log: see `line_file`.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import accumulate, groupby, islice
from operator import itemgetter
from pathlib import Path

from chatbot.adapters.filesystem.atomic import (
    exists,
    locked,
    make_durable_folder,
    opened,
)
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.checksummed import encode_line
from chatbot.adapters.storage.json_files.journal_file import (
    MAX_WRITE_BYTES,
    JournalFile,
    stored_entries,
)
from chatbot.adapters.storage.json_files.line_writer import LineWriter
from chatbot.adapters.storage.json_files.steps import run
from chatbot.adapters.storage.json_values import Damaged, logging_path_of_errors
from chatbot.domain.ports.export import Unreadable
from chatbot.domain.ports.journal import (
    Compose,
    Journal,
    JournalEntry,
    JournalKind,
    JournalPage,
    JournalQuery,
    Record,
)
from chatbot.domain.text import rfc3339

LOCK = ".lock"
_MONTH = re.compile(r"\d{4}-\d{2}\.jsonl")
_LINES_OF_A_PAGE, _DECODED_OF_A_PAGE = 50_000, 2_000
"""The maximum number of lines that are searched and decoded for a page."""
_log = logging.getLogger("chatbot.storage")


def is_journal_file(name: str) -> bool:
    return _MONTH.fullmatch(name) is not None


class JsonJournal(Journal):
    """The files in a folder for each journal, created by the first entry."""

    def __init__(self, root: Path, files: Files) -> None:
        self._root, self._files = root, files
        self._writer = LineWriter(files)

    def extend(self, journal: JournalKind, compose: Compose) -> Sequence[JournalEntry]:
        make_durable_folder(self._files, self._root / journal.name)
        with self._locked(journal.name):
            paths = self.paths(journal.name)
            entries = compose(self._last(paths))
            self._append_all(entries)
        return entries

    def _append_all(self, entries: Sequence[JournalEntry]) -> None:
        """Append each to its month, or to the newest one if the clock was set back."""
        if not entries:
            return
        newest = max(self.paths(entries[0].journal), default=Path())
        months = accumulate(map(self._month_of, entries), max, initial=newest)
        for path, group in groupby(
            zip(islice(months, 1, None), entries, strict=True), itemgetter(0)
        ):
            self._append(path, [entry for _, entry in group])

    def _month_of(self, entry: JournalEntry) -> Path:
        return self._root / entry.journal / f"{rfc3339(entry.at)[:7]}.jsonl"

    def read(self, journal: JournalKind, *, after: int = 0, limit: int) -> Sequence[JournalEntry]:
        return list(islice(self.entries(journal.name, after=after), limit))

    def find(
        self, journal: JournalKind, query: JournalQuery, *, after: int = 0, limit: int
    ) -> JournalPage:
        self._recover(journal.name)
        found: list[JournalEntry] = []
        decoded = 0
        for looked, (seq, entry) in enumerate(self._search(journal.name, query, after), 1):
            if query.up_to is not None and seq > query.up_to:
                break
            if entry is not None:
                decoded += 1
                found += [entry] if query.matches(journal, entry) else []
            if len(found) > limit:
                return JournalPage.of(found, limit)
            if looked >= _LINES_OF_A_PAGE or decoded >= _DECODED_OF_A_PAGE:
                return JournalPage(entries=found, next_after=seq)
        return JournalPage(entries=found)

    def _search(
        self, journal: str, query: JournalQuery, after: int
    ) -> Iterator[tuple[int, JournalEntry | None]]:
        """Yield the entries that may match; months before the period are skipped."""
        first = "" if query.since is None else rfc3339(query.since)[:7]
        for path in self._paths_from(journal, after + 1):
            if path.stem >= first:
                with self._opened(path, self._files.open_to_read) as (_, file):
                    yield from file.search(query, after=after)

    def prune(self, journal: JournalKind, before: datetime, record: Record) -> int:
        """Remove the oldest month, if it is before that of the moment and not the newest one."""
        if not exists(self._files, self._root / journal.name):
            return 0
        with self._locked(journal.name):
            paths = self.paths(journal.name)
            if len(paths) < 2 or paths[0].stem >= rfc3339(before)[:7]:
                return 0
            oldest, *newer = paths
            with self._opened(oldest, self._files.open_to_read) as (_, file):
                first, end = next(file.entries(), None), file.last
            newest = self._last(newer)
            if first is None or end is None or newest is None:
                return 0
            self._append_all([record(end, newest)])
            self._files.remove(oldest)
            self._files.fsync_folder(oldest.parent)
            return end.seq - first.seq + 1

    def last(self, journal: JournalKind) -> JournalEntry | None:
        self._recover(journal.name)
        return self._last(self.paths(journal.name))

    def stored(self, journal: str) -> Iterator[JournalEntry | Unreadable]:
        """Yields every line in the order of the files, including damaged ones."""
        for path in self.paths(journal):
            yield from stored_entries(self._files, path)

    def entries(self, journal: str, *, after: int = 0) -> Iterator[JournalEntry]:
        """Yields the entries after this number, oldest first.

        Raises:
            Damaged: one of them is damaged or missing.
        """
        self._recover(journal)
        expected = after + 1
        for path in self._paths_from(journal, after + 1):
            with self._opened(path, self._files.open_to_read) as (_, file):
                for entry in file.entries(after=after):
                    if entry.seq != expected and entry.seq != self._first_seq(journal):
                        raise Damaged(f"entry {expected}: missing")
                    expected = entry.seq + 1
                    yield entry

    def paths(self, journal: str) -> list[Path]:
        """Returns the files of a journal in order; none of a journal without entries."""
        folder = self._root / journal
        names = self._files.listdir(folder) if exists(self._files, folder) else []
        return [folder / name for name in sorted(names) if is_journal_file(name)]

    def _paths_from(self, journal: str, seq: int) -> Sequence[Path]:
        """Returns the file that has this entry, and those after it."""
        paths = self.paths(journal)
        for number in range(len(paths) - 1, 0, -1):
            with self._opened(paths[number], self._files.open_to_read) as (_, file):
                first = next(file.entries(), None)
            if first is not None and first.seq <= seq:
                return paths[number:]
        return paths

    def _first_seq(self, journal: str) -> int | None:
        """Returns the number of the first entry; those before were pruned."""
        for path in self.paths(journal):
            with self._opened(path, self._files.open_to_read) as (_, file):
                return next((entry.seq for entry in file.entries()), None)
        return None

    def _last(self, paths: Sequence[Path]) -> JournalEntry | None:
        for path in reversed(paths):
            with self._opened(path, self._files.open_to_read) as (_, file):
                if file.last is not None:
                    return file.last
        return None

    def _append(self, path: Path, entries: Sequence[JournalEntry]) -> None:
        if not exists(self._files, path):
            self._files.close(self._files.create(path))
        with self._opened(path, self._files.open_to_append) as (fd, file):
            if file.last is None:  # before the entry, which may be rolled back
                self._files.fsync_folder(path.parent)
                self._files.fsync_folder(self._root)
            tail = file.tail(entries[0].seq - 1)
            for lines in _joined(map(_line_of, entries)):
                tail = run(self._writer.append(path, fd, tail, lines))

    def _recover(self, journal: str) -> None:
        if self._writer.failed:
            with self._locked(journal):
                pass

    @contextmanager
    def _locked(self, journal: str) -> Iterator[None]:
        """Hold the journal's lock, with failed appends rolled back.

        If another process has appended since, it has started from what it found.
        """
        folder = self._root / journal
        with locked(self._files, folder / LOCK):
            for path in [each for each in self._writer.failed if each.parent == folder]:
                with opened(self._files, self._files.open_to_append(path)) as fd:
                    run(self._writer.recover(path, fd))
            yield

    @contextmanager
    def _opened(self, path: Path, how: Callable[[Path], int]) -> Iterator[tuple[int, JournalFile]]:
        with logging_path_of_errors(path), opened(self._files, how(path)) as fd:
            yield fd, JournalFile(self._files, fd, path)


def _line_of(entry: JournalEntry) -> bytes:
    found = {"seq": entry.seq, "at": rfc3339(entry.at), "content": dict(entry.content)}
    return encode_line(found)


def _joined(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines into pieces of at most `MAX_WRITE_BYTES`, or of one line that is longer."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > MAX_WRITE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield b"".join(piece)
