"""A file of counters: each line contains the new amounts of the counters that changed.

So a change costs one short line, and lines of other processes are read from where this process
stopped. The first line identifies the file: a file that has grown too long is replaced by a new one
without expired amounts.

Amounts expire, so a file that is damaged or was written by a newer version is moved aside
unchanged, and its intact lines are kept: no one is locked out, and limits still apply.
"""

import json
import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path

from chatbot.adapters.filesystem.atomic import (
    WORK,
    make_durable_folder,
    opened,
    put,
    put_unsynced,
    write_all,
)
from chatbot.adapters.filesystem.file_status import Status
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.in_memory.counters import CounterTable
from chatbot.adapters.storage.json_files.checksummed import decode_line, encode_line, is_intact
from chatbot.adapters.storage.json_files.counter_lines import COUNTERS
from chatbot.adapters.storage.json_values import (
    VERSION,
    Corruption,
    Damaged,
    log_damage,
    number,
    text,
    timestamp,
)
from chatbot.domain.ports.counters import names_with_part
from chatbot.domain.text import rfc3339

SET_ASIDE = ".damaged-"
_SHORT = 64 * 1024
_GROWTH = 4
"""A file is replaced when it is longer than this, and this many times longer than necessary."""
_AMOUNTS_OF_A_LINE = 500

Change = tuple[str, datetime, int]
_moment, _stamp = lru_cache(timestamp), lru_cache(rfc3339)


def decode_amounts(raw: bytes) -> Sequence[Change]:
    """Read the lines of a file, or those after its first one.

    Raises:
        Damaged: it was truncated or modified, or has a newer version.
    """
    if raw[-1:] != b"\n":
        raise Damaged(f"{COUNTERS}: empty or cut off")
    return [change for line in raw[:-1].split(b"\n") for change in _changes(line)]


def _changes(line: bytes) -> Iterator[Change]:
    if not is_intact(line):
        decode_line(line, COUNTERS)  # says what is wrong
    found = json.loads(line)
    if found.get("version", VERSION) != VERSION:
        decode_line(line, COUNTERS).require_version()
    try:
        for name, at, amount in found.get("set", ()):
            yield text(name), _moment(at), number(amount)
    except (TypeError, ValueError) as error:
        raise Damaged(f"{COUNTERS}: not a list of amounts") from error


class CounterFile:
    """The counters in one file. Its kind's lock is held while a method is called.

    Args:
        max_names: how many counters there may be of a bounded kind.
    """

    def __init__(self, path: Path, files: Files, *, max_names: int) -> None:
        self.path, self._files, self._max_names = path, files, max_names
        self.forget()

    def forget(self) -> None:
        """Read the file again at the next use."""
        kind = self.path.parent.name
        self.table = CounterTable(kind, max_names=self._max_names, is_logged=True)
        self._status: Status | None = None
        self._first, self._end, self._longest = b"", 0, _SHORT

    def refresh(self) -> None:
        """Read what has changed since the last use."""
        try:
            status = self._files.status_of(self.path)
            if status == self._status:
                return
            with opened(self._files, self._files.open_to_read(self.path)) as fd:
                raw = self._read(fd)
        except FileNotFoundError:
            self.forget()
        else:
            self._read_new(raw, status)

    def _read_new(self, raw: bytes, status: Status) -> None:
        """Apply the new lines. The file is closed, so that Windows can rename a damaged one."""
        try:
            self._take(decode_amounts(raw))
        except Damaged as damage:
            log_damage(self.path, damage)
            self._salvage(raw, damage)
            return
        if not self._first:
            self._first = raw[: raw.index(b"\n") + 1]
            self._longest = max(_SHORT, _GROWTH * self.table.size)
        self._status, self._end = status, status.size

    def _read(self, fd: int) -> bytes:
        """Returns the new part of the file: all of it, unless it has only grown."""
        status = self._files.status(fd)
        has_grown = bool(self._first) and status.size >= self._end
        if not (has_grown and self._files.read_at(fd, len(self._first), 0) == self._first):
            self.forget()
        return self._files.read_at(fd, status.size - self._end, self._end)

    def _take(self, changes: Sequence[Change]) -> None:
        for name, at, amount in changes:
            self.table.put(name, at, amount)
        self.table.changes.clear()

    def _salvage(self, raw: bytes, damage: Damaged) -> None:
        if damage.corruption is Corruption.NEWER:
            self.forget()
        else:
            intact = [line for line in raw.split(b"\n") if is_intact(line)]
            self._take([change for line in intact for change in _changes(line)])
        work = self.path.parent / WORK
        make_durable_folder(self._files, work)
        aside = work / f"{self.path.name}{SET_ASIDE}{secrets.token_hex(8)}"
        self._files.replace(self.path, aside)
        self._rewrite()

    def write(self, now: datetime | None = None) -> None:
        """Write the changed amounts, except some that have expired `now`.

        They survive the end of the process, but not always a power failure: otherwise chats would
        wait for the disk in a flood of log-ins.
        """
        changes = self.table.changes
        if not changes:
            return
        if self._status is None or self._end > self._longest:
            if now is not None:
                self.table.drop_expired(now)
            self._rewrite()
        else:
            self._append(_lines((name, at, n) for (name, at), n in changes.items()))
        changes.clear()

    def erase(self, part: str) -> list[str]:
        """Remove the counters with this part in their names durably; returns the names."""
        names = names_with_part(self.table.amounts, part)
        if self.table.erase(part):
            self._rewrite(is_durable=True)
        return names

    def _append(self, lines: bytes) -> None:
        with opened(self._files, self._files.open_to_append(self.path)) as fd:
            try:
                write_all(self._files, fd, lines)
            except BaseException:
                before = self._status
                self.forget()
                if before is not None:
                    self._files.truncate(fd, before.size)
                    self._files.set_mtime(fd, self.path, before.mtime_ns)
                raise
            self._status = self._files.status(fd)
            self._end = self._status.size

    def _rewrite(self, *, is_durable: bool = False) -> None:
        first = encode_line({"version": VERSION, "id": secrets.token_hex(8)})
        amounts = self.table.amounts.items()
        lines = _lines((name, at, n) for name, held in amounts for at, n in held.items())
        try:
            make_durable_folder(self._files, self.path.parent)
            (put if is_durable else put_unsynced)(self._files, self.path, first + lines)
        except BaseException:
            self.forget()
            raise
        self._first, self._status = first, self._files.status_of(self.path)
        self._end = self._status.size
        self._longest = max(_SHORT, _GROWTH * self._end)
        self.table.changes.clear()


def _lines(changes: Iterator[Change]) -> bytes:
    lines = []
    while some := list(islice(changes, _AMOUNTS_OF_A_LINE)):
        lines.append(
            encode_line({"set": [[name, _stamp(at), amount] for name, at, amount in some]})
        )
    return b"".join(lines)
