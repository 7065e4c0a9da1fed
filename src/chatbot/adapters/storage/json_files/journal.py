"""Journals: for each month a log of checksummed lines, `<journal>/2026-03.jsonl`.

An entry is acknowledged when its line is synced. What a power failure leaves of the last line is
treated as in a session's log: see `line_file`.
"""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from chatbot.adapters.filesystem.atomic import (
    exists,
    locked,
    make_durable_folder,
    opened,
)
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.checksummed import decode_line, encode_line
from chatbot.adapters.storage.json_files.line_file import LineFile
from chatbot.adapters.storage.json_files.line_writer import LineWriter
from chatbot.adapters.storage.json_files.steps import run
from chatbot.adapters.storage.json_values import Damaged, logging_path_of_errors
from chatbot.domain.ports.journal import Content, Journal, JournalEntry
from chatbot.domain.text import rfc3339

LOCK = ".lock"
_MONTH = re.compile(r"\d{4}-\d{2}\.jsonl")
_BLOCK = 16 * 1024
_log = logging.getLogger("chatbot.storage")


def is_journal_file(name: str) -> bool:
    return _MONTH.fullmatch(name) is not None


class JournalFile(LineFile):
    """The entries in an open file, as of the moment it was opened."""

    def __init__(self, files: Files, fd: int, path: Path) -> None:
        super().__init__(files, fd)
        self._path = path
        last = self._find_last(0)
        self.last = None if last is None else self._entry(last)

    def entries(self, *, after: int = 0) -> Iterator[JournalEntry]:
        """Yields the entries after this number, the oldest first.

        Raises:
            Damaged: a line fails its checksum.
        """
        entries = map(self._entry, self._lines(self._offset_before(after)))
        return (entry for entry in entries if entry.seq > after)

    def _offset_before(self, after: int) -> int:
        """Returns where a line begins that is not far before the first one after this number."""
        low, high = 0, self.end
        while high - low > _BLOCK:
            middle = (low + high) // 2
            lines = self._lines(middle)
            start = middle + len(next(lines)) + 1
            if start < high and self._entry(next(lines)).seq <= after:
                low = start
            else:
                high = middle
        return low

    def _lines(self, offset: int) -> Iterator[bytes]:
        begun = b""
        while offset < self.end:
            block = self._read(offset, min(offset + _BLOCK, self.end))
            *lines, begun = (begun + block).split(b"\n")
            offset += len(block)
            yield from lines
        if begun:  # the last one lacks its newline
            yield begun

    def _entry(self, line: bytes) -> JournalEntry:
        what = f"an entry in {self._path.name}"
        found = decode_line(line, what)
        return JournalEntry(
            journal=self._path.parent.name,
            seq=found.number("seq"),
            at=found.timestamp("at"),
            content=found.nested("content"),
        )


class JsonJournal(Journal):
    """The files in a folder for each journal, which the first entry makes."""

    def __init__(self, root: Path, files: Files) -> None:
        self._root, self._files = root, files
        self._writer = LineWriter(files)

    def append(
        self, journal: str, compose: Callable[[JournalEntry | None], Content], *, at: datetime
    ) -> JournalEntry:
        make_durable_folder(self._files, self._root / journal)
        with self._locked(journal):
            paths = self.paths(journal)
            last = self._last(paths)
            content = dict(compose(last))
            seq = 1 if last is None else last.seq + 1
            entry = JournalEntry(journal=journal, seq=seq, at=at, content=content)
            month = self._root / journal / f"{at.astimezone(UTC):%Y-%m}.jsonl"
            self._append(max([month, *paths]), entry)  # the newest, if the clock was set back
        return entry

    def read(self, journal: str, *, after: int = 0, limit: int) -> Sequence[JournalEntry]:
        return list(islice(self.entries(journal, after=after), limit))

    def last(self, journal: str) -> JournalEntry | None:
        self._recover(journal)
        return self._last(self.paths(journal))

    def entries(self, journal: str, *, after: int = 0) -> Iterator[JournalEntry]:
        """Yields the entries after this number, the oldest first.

        Raises:
            Damaged: one of them is damaged or missing.
        """
        self._recover(journal)
        expected = after + 1
        for path in self._paths_from(journal, expected):
            with self._opened(path, self._files.open_to_read) as (_, file):
                for entry in file.entries(after=after):
                    if entry.seq != expected:
                        raise Damaged(f"entry {expected}: missing")
                    expected += 1
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

    def _last(self, paths: Sequence[Path]) -> JournalEntry | None:
        for path in reversed(paths):
            with self._opened(path, self._files.open_to_read) as (_, file):
                if file.last is not None:
                    return file.last
        return None

    def _append(self, path: Path, entry: JournalEntry) -> None:
        if not exists(self._files, path):
            self._files.close(self._files.create(path))
        found = {"seq": entry.seq, "at": rfc3339(entry.at), "content": dict(entry.content)}
        with self._opened(path, self._files.open_to_append) as (fd, file):
            if file.last is None:  # before the entry, which may be rolled back
                self._files.fsync_folder(path.parent)
                self._files.fsync_folder(self._root)
            run(self._writer.append(path, fd, file.tail(entry.seq - 1), encode_line(found)))

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
