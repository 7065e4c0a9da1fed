"""The files of counters of a JSON store, with log-in attempts as the example."""

import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any

from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.errors import StorageFull, StorageUnavailable
from chatbot.domain.ports.counters import Addition, CounterKey
from chatbot.domain.repositories.attempts import AttemptRepository
from chatbot.domain.throttling import (
    AttemptKey,
    Throttle,
    account_throttle,
    address_throttle,
)
from repositories import here_and_now

T0 = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)
GUESSED = account_throttle("ana@example.com")
LINE = address_throttle("192.0.2.77")


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below the folder with its time and bytes, except lock files."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def changed_bytes(whole: bytes, change: str) -> Iterator[bytes]:
    """Every variant of the bytes with one byte changed."""
    how, operand = change[0], ord(change[1])
    for at, byte in enumerate(whole):
        new = byte ^ operand if how == "^" else operand
        if new != byte:
            yield whole[:at] + bytes([new]) + whole[at + 1 :]


class Faulty(Files):
    """A file system that fails at the calls named by a test, and counts others."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.written = self.synced = 0

    def fsync(self, fd: int) -> None:
        self.synced += 1
        super().fsync(fd)

    def write(self, fd: int, data: bytes) -> int:
        if "write" in self.failing:
            super().write(fd, data[: len(data) // 2])
            raise StorageFull("full")
        self.written += 1
        return super().write(fd, data)

    def replace(self, source: Path, target: Path) -> None:
        if "replace" in self.failing:
            raise StorageUnavailable("replace")
        super().replace(source, target)


def attempts_of(storage: JsonFileStorage) -> AttemptRepository:
    return here_and_now(storage).attempts


def guess(storage: JsonFileStorage, times: int = 5) -> timedelta:
    """Try to log in this often; return the last wait."""
    waits = [attempts_of(storage).count([GUESSED, LINE], at=T0) for _ in range(times)]
    return waits[-1]


def number_of(key: str) -> int:
    return zlib.crc32(key.encode()) % 32


def file_of(root: Path, throttle: Throttle = GUESSED, month: str = "2026-03") -> Path:
    return root / "counters" / "attempts" / f"{month}.{number_of(throttle.key):02x}.jsonl"


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def stored(file: Path) -> dict[str, dict[str, int]]:
    """What the lines of a file add up to."""
    found: dict[str, dict[str, int]] = {}
    for line in lines_of(file)[1:]:
        for name, at, amount in line["set"]:
            found.setdefault(name, {})[at] = amount
    held = {name: {at: n for at, n in counts.items() if n} for name, counts in found.items()}
    return {name: counts for name, counts in held.items() if counts}


def neighbours(number: int) -> list[Throttle]:
    """Throttles with their counters in the same file."""
    keys = (f"{n:064x}" for n in count())
    found = (key for key in keys if number_of(key) == number_of(GUESSED.key))
    return [Throttle(key=AttemptKey(key), allowed=5) for key in islice(found, number)]


def of_row(metric: str) -> Addition:
    key = CounterKey("budget", f"2026-03-01|ana|{metric}")
    return Addition(key=key, amount=1, expires_at=later(60))
