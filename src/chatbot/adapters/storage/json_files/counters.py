"""Counters: for each kind up to 256 small files, by the checksums of the names up to the last part.

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
from chatbot.adapters.storage.json_files.checksummed import decode_file, encode_line
from chatbot.adapters.storage.json_values import (
    VERSION,
    Damaged,
    JsonObject,
    logging_path_of_errors,
)
from chatbot.domain.ports.counters import (
    PART_SEPARATOR,
    Addition,
    CounterKey,
    Counters,
    Counts,
)
from chatbot.domain.text import rfc3339

COUNTERS = "counters"
SET_ASIDE = ".damaged-"
MAX_NAMES = 512
"""In one file of a bounded kind: some 50 kB of log-in attempts. Filling one takes that many failed
attempts in 15 minutes."""

_FILES = 256
_LOCK_WAIT_S = 1.0
"""It is held for some 20 ms: a stopped process that holds it must not stop the other threads."""


def parse_counters(raw: bytes) -> dict[str, dict[datetime, int]]:
    """Read a whole file.

    Raises:
        Damaged: it was truncated or modified, or has a newer version.
    """
    document = decode_file(raw, COUNTERS)
    by_name = JsonObject(document.nested(COUNTERS), COUNTERS)
    return {name: _amounts(JsonObject(by_name.nested(name), COUNTERS)) for name in by_name.found}


def _amounts(held: JsonObject) -> dict[datetime, int]:
    return {JsonObject({"at": at}, COUNTERS).timestamp("at"): held.number(at) for at in held.found}


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
        keys = [addition.key for addition in (*reserved, *used)]
        with self.exclusive(keys), self._changing(keys) as tables:
            for each in reserved:
                tables[each.key].subtract(each.key.name, each.expires_at, each.amount)
            for each in used:
                tables[each.key].add(each.key.name, each.expires_at, each.amount, now=now)

    def read(self, keys: Sequence[CounterKey], *, now: datetime) -> Counts:
        with self.exclusive(keys):
            tables = self._tables(keys)
            return {key: tables[key].read(key.name, now) for key in keys}

    def scan(self, kind: str, *prefixes: str, now: datetime) -> Mapping[str, int]:
        found = dict[str, int]()
        for path in self._paths(kind):
            with self._locked(kind):  # not for all of them: others wait for it
                found |= self._load(path).totals(prefixes, now)
        return found

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
                    put(self._files, path, _encoded(table))
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
            put_unsynced(self._files, path, _encoded(table))

    def _tables(self, keys: Sequence[CounterKey]) -> Mapping[CounterKey, CounterTable]:
        by_path = {path: self._load(path) for path in {self._path(key) for key in keys}}
        return {key: by_path[self._path(key)] for key in keys}

    def _load(self, path: Path) -> CounterTable:
        """Returns the counters in a file, none if it cannot be trusted; the lock is held."""
        amounts: dict[str, dict[datetime, int]] = {}
        try:
            with logging_path_of_errors(path):
                amounts = parse_counters(read(self._files, path))
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
        return [folder / name for name in sorted(names) if is_counters_file(name)]

    def _path(self, key: CounterKey) -> Path:
        *most, last = key.name.split(PART_SEPARATOR)
        number = zlib.crc32((PART_SEPARATOR.join(most) or last).encode()) % _FILES
        return self._root / key.kind / f"{number:02x}.json"


def _encoded(table: CounterTable) -> bytes:
    found = {
        name: {rfc3339(at): amount for at, amount in held.items()}
        for name, held in table.amounts.items()
    }
    return encode_line({"version": VERSION, COUNTERS: found})
