"""Counters: for each kind up to 256 small files, by the checksums of the names up to the last part; or logs.

So the counters that a turn changes together, whose names differ in the last part only, are in one file.
What counters hold expires, so a file that cannot be trusted, or that a newer version wrote, is moved
aside unchanged and counting starts again: this neither locks anyone out nor stops later limits.
"""

import secrets
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Self

from chatbot.adapters.filesystem.atomic import (
    WORK,
    exists,
    locked,
    make_durable_folder,
    put,
    put_unsynced,
    read,
    remove_unfinished,
)
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.in_memory.counters import CounterTable
from chatbot.adapters.storage.json_files.counter_lines import decode_counters, encode_counters
from chatbot.adapters.storage.json_files.counter_log import (
    append,
    decode_log,
    is_counter_log,
    is_long,
    log_of,
    may_hold,
)
from chatbot.adapters.storage.json_values import Damaged, logging_path_of_errors
from chatbot.domain.ports.counters import (
    LOGGED_KINDS,
    PART_SEPARATOR,
    Addition,
    Bill,
    CounterKey,
    Counters,
    Counts,
)

SET_ASIDE = ".damaged-"
MAX_NAMES = 512
"""In one file of a bounded kind: some 50 kB of log-in attempts. Filling one takes that many failed
attempts in 15 minutes."""

_FILES = 256
_LOCK_WAIT_S = 1.0
"""It is held for some 20 ms: a stopped process that holds it must not stop the other threads."""


def is_counters_file(name: str) -> bool:
    return name in {f"{number:02x}.json" for number in range(_FILES)}


class JsonCounters(Counters):
    """The files in a folder `counters/<kind>`. One lock for each kind, held for milliseconds."""

    def __init__(self, root: Path, files: Files, *, is_locked: bool = False) -> None:
        self._root, self._files, self._is_locked = root, files, is_locked

    def open(self) -> None:
        make_durable_folder(self._files, self._root)

    def settle(
        self, reserved: Sequence[Addition], used: Sequence[Addition], *, now: datetime
    ) -> None:
        logged = [each for each in used if each.key.kind in LOGGED_KINDS]
        others = [each for each in used if each.key.kind not in LOGGED_KINDS]
        keys = [addition.key for addition in (*reserved, *others)]
        with self.exclusive(keys), self._changing(keys) as tables:
            for each in reserved:
                tables[each.key].subtract(each.key.name, each.expires_at, each.amount)
            for each in others:
                tables[each.key].add(each.key.name, each.expires_at, each.amount, now=now)
        for kind in {each.key.kind for each in logged}:
            make_durable_folder(self._files, self._root / kind)
            with self._locked(kind):
                of_kind = [each for each in logged if each.key.kind == kind]
                append(self._files, self._root / kind, of_kind)

    def is_quick(self, bill: Bill) -> bool:
        """Whether settling it is no more than appending to logs."""
        return not bill.reserved and all(each.key.kind in LOGGED_KINDS for each in bill.used)

    def read(self, keys: Sequence[CounterKey], *, now: datetime) -> Counts:
        with self.exclusive(keys):
            tables = self._tables(keys)
            return {key: tables[key].read(key.name, now) for key in keys}

    def scan(self, kind: str, *prefixes: str, now: datetime) -> Mapping[str, int]:
        found = dict[str, int]()
        if kind in LOGGED_KINDS:
            for path in self._paths(kind):
                if any(may_hold(path.name, prefix) for prefix in prefixes):
                    found |= self._tidied(path, now).totals(prefixes, now)
            return found
        for path in self._paths(kind):
            with self._locked(kind):  # not for all of them: others wait for it
                found |= self._load(path).totals(prefixes, now)
        return found

    def _tidied(self, path: Path, now: datetime) -> CounterTable:
        """Returns the counters of a log; a long one is shortened, and one that has expired removed.

        The lock is held only to replace it by what was read, followed by what came meanwhile.
        """
        raw = read(self._files, path)
        table = CounterTable(path.parent.name, decode_log(path, raw), max_names=MAX_NAMES)
        has_expired = not table.totals([""], now)
        if has_expired or is_long(raw):
            with self._locked(path.parent.name):
                newest = read(self._files, path)
                if has_expired and newest == raw:
                    self._files.remove(path)
                elif newest.startswith(raw):
                    rest = newest.removeprefix(raw)
                    put_unsynced(self._files, path, encode_counters(table.amounts) + rest)
        return table

    def clear(self, keys: Sequence[CounterKey]) -> None:
        with self.exclusive(keys), self._changing(keys) as tables:
            for key in keys:
                tables[key].clear(key.name)

    def erase(self, part: str) -> Mapping[str, int]:
        return {kind: count for kind in self._kinds() if (count := self._erase(kind, part))}

    def _erase(self, kind: str, part: str) -> int:
        erased = 0
        for path in self._paths(kind):
            with self._locked(kind):
                table = self._load(path)
                erased += table.erase(part)
                if table.is_changed:
                    put(self._files, path, encode_counters(table.amounts))
        with self._locked(kind):
            remove_unfinished(self._files, self._root / kind)  # and those that were moved aside
        return erased

    @contextmanager
    def exclusive(self, keys: Sequence[CounterKey]) -> Iterator[Self]:
        with ExitStack() as held:
            for kind in sorted({key.kind for key in keys}):
                held.enter_context(self._locked(kind))
            yield type(self)(self._root, self._files, is_locked=True)

    def _locked(self, kind: str) -> AbstractContextManager[None]:
        if self._is_locked:
            return nullcontext()
        return locked(self._files, self._root / f".{kind}.lock", wait_s=_LOCK_WAIT_S)

    @contextmanager
    def _changing(self, keys: Sequence[CounterKey]) -> Iterator[Mapping[CounterKey, CounterTable]]:
        """The tables of these counters; each file that has changed is then written once."""
        tables = self._tables(keys)
        yield tables
        changed = {self._path(key): table for key, table in tables.items() if table.is_changed}
        for path, table in changed.items():
            make_durable_folder(self._files, path.parent)
            # unsynced, or chats would wait for the disk in a log-in flood
            put_unsynced(self._files, path, encode_counters(table.amounts))

    def _tables(self, keys: Sequence[CounterKey]) -> Mapping[CounterKey, CounterTable]:
        by_path = {path: self._load(path) for path in {self._path(key) for key in keys}}
        return {key: by_path[self._path(key)] for key in keys}

    def _load(self, path: Path) -> CounterTable:
        """Returns the counters in a file, none if it cannot be trusted; the lock is held."""
        amounts: dict[str, dict[datetime, int]] = {}
        try:
            with logging_path_of_errors(path):
                raw = read(self._files, path)
                amounts = (
                    decode_log(path, raw) if is_counter_log(path.name) else decode_counters(raw)
                )
        except FileNotFoundError:
            pass
        except Damaged:
            self._set_aside(path)
        return CounterTable(path.parent.name, amounts, max_names=MAX_NAMES)

    def _set_aside(self, path: Path) -> None:
        make_durable_folder(self._files, path.parent / WORK)
        aside = path.parent / WORK / f"{path.name}{SET_ASIDE}{secrets.token_hex(8)}"
        self._files.replace(path, aside)

    def _kinds(self) -> list[str]:
        names = sorted(self._files.listdir(self._root))
        return [name for name in names if self._files.status_of(self._root / name).is_folder]

    def _paths(self, kind: str) -> list[Path]:
        folder = self._root / kind
        names = self._files.listdir(folder) if exists(self._files, folder) else []
        return [
            folder / name
            for name in sorted(names)
            if is_counters_file(name) or is_counter_log(name)
        ]

    def _path(self, key: CounterKey) -> Path:
        if key.kind in LOGGED_KINDS:
            return self._root / key.kind / log_of(key.name)
        *most, last = key.name.split(PART_SEPARATOR)
        number = zlib.crc32((PART_SEPARATOR.join(most) or last).encode()) % _FILES
        return self._root / key.kind / f"{number:02x}.json"
