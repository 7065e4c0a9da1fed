"""Counters: for each kind up to 256 small files, by the checksums of the names.

What counters hold expires, so a file that cannot be trusted, or that a newer version wrote, is moved
aside unchanged and counting starts again: this neither locks anyone out nor stops later limits.
"""

import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Self

from chatbot.adapters.filesystem.atomic import (
    WORK,
    locked,
    make_durable_folder,
    put_unsynced,
    read,
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
from chatbot.domain.ports.counters import Addition, CounterKey, Counters, Counts
from chatbot.domain.text import rfc3339

COUNTERS = "counters"
SET_ASIDE = ".damaged-"
MAX_NAMES = 512
"""In one file: some 50 kB of log-in attempts. Filling one takes that many failed attempts in 15
minutes."""

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
        with self.exclusive([addition.key for addition in (*reserved, *used)]):
            for each in reserved:
                with self._changing(each.key) as table:
                    table.subtract(each.key.name, each.expires_at, each.amount)
            for each in used:
                with self._changing(each.key) as table:
                    table.add(each.key.name, each.expires_at, each.amount, now=now)

    def read(self, keys: Sequence[CounterKey], *, now: datetime) -> Counts:
        with self.exclusive(keys):
            return {key: self._load(self._path(key)).read(key.name, now) for key in keys}

    def clear(self, keys: Sequence[CounterKey]) -> None:
        with self.exclusive(keys):
            for key in keys:
                with self._changing(key) as table:
                    table.clear(key.name)

    @contextmanager
    def exclusive(self, keys: Sequence[CounterKey]) -> Iterator[Self]:
        kinds = set() if self._is_locked else {key.kind for key in keys}
        with ExitStack() as held:
            for kind in sorted(kinds):
                lock = self._root / f".{kind}.lock"
                held.enter_context(locked(self._files, lock, wait_s=_LOCK_WAIT_S))
            yield type(self)(self._root, self._files, is_locked=True)

    @contextmanager
    def _changing(self, key: CounterKey) -> Iterator[CounterTable]:
        path = self._path(key)
        table = self._load(path)
        yield table
        if table.is_changed:
            make_durable_folder(self._files, path.parent)
            found = {
                name: {rfc3339(at): amount for at, amount in held.items()}
                for name, held in table.amounts.items()
            }
            line = encode_line({"version": VERSION, COUNTERS: found})
            put_unsynced(self._files, path, line)  # else chats wait for the disk in a log-in flood

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
        return CounterTable(amounts, max_names=MAX_NAMES)

    def _set_aside(self, path: Path) -> None:
        make_durable_folder(self._files, path.parent / WORK)
        aside = path.parent / WORK / f"{path.name}{SET_ASIDE}{secrets.token_hex(8)}"
        self._files.replace(path, aside)

    def _path(self, key: CounterKey) -> Path:
        number = zlib.crc32(key.name.encode()) % _FILES
        return self._root / key.kind / f"{number:02x}.json"
