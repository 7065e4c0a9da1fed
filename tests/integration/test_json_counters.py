"""The files of counters, with log-in attempts as the example."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path

import pytest

from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files import counter_lines, counters
from chatbot.adapters.storage.json_files.check import Problem
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.errors import StorageFull, StorageUnavailable
from chatbot.domain.ports.counters import Addition, CounterKey
from chatbot.domain.repositories.attempts import AttemptRepository
from chatbot.domain.throttling import (
    WINDOW,
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


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


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
        self.replaced = self.synced = 0

    def fsync(self, fd: int) -> None:
        self.synced += 1
        super().fsync(fd)

    def write(self, fd: int, data: bytes) -> int:
        if "write" in self.failing:
            super().write(fd, data[: len(data) // 2])
            raise StorageFull("full")
        return super().write(fd, data)

    def replace(self, source: Path, target: Path) -> None:
        if "replace" in self.failing:
            raise StorageUnavailable("replace")
        self.replaced += 1
        super().replace(source, target)


def attempts_of(storage: JsonFileStorage) -> AttemptRepository:
    return here_and_now(storage).attempts


def guess(storage: JsonFileStorage, times: int = 5) -> timedelta:
    """Try to log in this often; return the last wait."""
    waits = [attempts_of(storage).count([GUESSED, LINE], at=T0) for _ in range(times)]
    return waits[-1]


def number_of(key: str) -> int:
    return zlib.crc32(key.encode()) % 256


def file_of(root: Path, throttle: Throttle = GUESSED) -> Path:
    return root / "counters" / "attempts" / f"{number_of(throttle.key):02x}.json"


def neighbours(number: int) -> list[Throttle]:
    """Throttles with their counters in the same file."""
    keys = (f"{n:064x}" for n in count())
    found = (key for key in keys if number_of(key) == number_of(GUESSED.key))
    return [Throttle(key=AttemptKey(key), allowed=5) for key in islice(found, number)]


async def test_counter_files_are_readable_but_contain_no_names(root: Path) -> None:
    async with JsonFileStorage(root) as storage:
        guess(storage, 2)
    document = json.loads(file_of(root).read_text("utf-8"))
    stamp = "2026-03-01T12:15:00.123457Z"
    assert document["counters"] == {GUESSED.key: {stamp: 2}}
    for path, (_, content) in tree(root).items():
        assert b"ana@" not in content, path
        assert b"192.0.2" not in content, path


async def test_two_stores_on_one_folder_count_together(root: Path) -> None:
    async with JsonFileStorage(root) as one, JsonFileStorage(root) as other:
        assert not guess(one, 3)
        assert not guess(other, 2)
        assert guess(one, 1) == guess(other, 1) == timedelta(seconds=30)
        attempts_of(other).clear(GUESSED.key)
        assert not guess(one, 5)


async def test_expired_entries_leave_the_file_at_the_next_write(root: Path) -> None:
    async with JsonFileStorage(root) as storage:
        guess(storage)
        [neighbour] = neighbours(1)
        attempts_of(storage).count([neighbour], at=T0 + WINDOW)
    assert set(json.loads(file_of(root).read_bytes())["counters"]) == {neighbour.key}


async def test_flood_of_names_neither_grows_the_file_nor_unthrottles_the_attacked_account(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "MAX_NAMES", 8)
    async with JsonFileStorage(root) as storage:
        guess(storage)
        for other in neighbours(20):
            attempts_of(storage).count([other], at=later(1))
        assert guess(storage, 1) == timedelta(seconds=30)
    assert len(json.loads(file_of(root).read_bytes())["counters"]) == 8


async def test_no_counter_of_another_kind_is_dropped_from_a_full_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "MAX_NAMES", 2)
    async with JsonFileStorage(root) as storage:
        for number in range(9):
            here_and_now(storage).counters.add([of_row(f"{number}")], now=T0)
        assert len(here_and_now(storage).counters.scan("usage", "", now=T0)) == 9


async def test_counters_that_differ_in_the_last_part_are_in_one_file_written_once(
    root: Path,
) -> None:
    row = [replace(each, key=CounterKey("budget", each.key.name)) for each in map(of_row, "012345")]
    files = Faulty()
    async with JsonFileStorage(root, files) as storage:
        here_and_now(storage).counters.add(row, now=T0)
        [file] = (root / "counters" / "budget").glob("*.json")
        before = file.stat().st_ino
        files.replaced = 0
        here_and_now(storage).counters.settle(row[:3], row, now=T0)
        assert files.replaced == 1
        assert file.stat().st_ino != before


async def test_erasing_is_synced_and_leaves_nothing_in_the_files(root: Path) -> None:
    files = Faulty()
    async with JsonFileStorage(root, files) as storage:
        here_and_now(storage).counters.add([of_row("turns")], now=T0)
        files.synced = 0
        assert here_and_now(storage).counters.erase("ana") == {"usage": 1}
        assert files.synced > 0
        assert here_and_now(storage).counters.erase("ana") == {}
    for path, (_, content) in tree(root / "counters").items():
        assert b"ana@" not in content, path


def of_row(metric: str) -> Addition:
    key = CounterKey("usage", f"2026-03-01|ana|{metric}")
    return Addition(key=key, amount=1, expires_at=later(60))


@pytest.mark.parametrize("change", ["^\x01", "^\x80", "^\xff", "=\n", "=\0"])
async def test_every_changed_byte_is_detected(root: Path, change: str) -> None:
    async with JsonFileStorage(root) as storage:
        guess(storage)
    for damaged in changed_bytes(file_of(root).read_bytes(), change):
        with pytest.raises(StorageUnavailable):
            counter_lines.decode_counters(damaged)


@pytest.mark.parametrize("damaged", [b"", b"{}\n", b"[" * 9999 + b"\n", b"\xff\xfe\n"])
async def test_damaged_file_is_set_aside_and_counting_begins_anew(
    root: Path, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with JsonFileStorage(root) as storage:
        guess(storage)
        file_of(root).write_bytes(damaged)
        attempts_of(storage).clear(LINE.key)
        assert not guess(storage), "nobody is locked out"
        assert guess(storage, 1), "the door is not open either"
        [aside] = (root / "counters" / "attempts" / ".work").iterdir()
        assert aside.read_bytes() == damaged
        assert str(file_of(root)) in caplog.text


async def test_file_of_a_newer_version_is_set_aside_as_it_is(root: Path) -> None:
    work = root / "counters" / "attempts" / ".work"
    async with JsonFileStorage(root) as storage:
        guess(storage)
        newer = file_of(root).read_bytes().replace(b'"version":1', b'"version":7')
        file_of(root).write_bytes(newer)
        assert not guess(storage, 5)
        [aside] = work.iterdir()
        assert aside.read_bytes() == newer
        [finding] = await storage.findings()
        assert finding.problem is Problem.LEFTOVER
        assert "remove it" in finding.detail


async def test_every_error_is_listed(root: Path) -> None:
    folder = root / "counters" / "attempts"
    async with JsonFileStorage(root) as storage:
        guess(storage)
        assert await storage.findings() == []
        file_of(root).write_bytes(file_of(root).read_bytes().replace(b"12:15", b"13:15", 1))
        whole = file_of(root, LINE).read_bytes()
        file_of(root, LINE).write_bytes(whole.replace(b'"version":1', b'"version":2'))
        (folder / "fff.json").write_bytes(b"{}")
        (folder / ".work" / "00.json.0123456789abcdef").write_bytes(b"{")
        before = tree(root)
        found = {(Path(f.path).name, f.problem) for f in await storage.findings()}
        assert tree(root) == before
    assert found == {
        (file_of(root).name, Problem.DAMAGED),
        (file_of(root, LINE).name, Problem.NEWER),
        ("fff.json", Problem.FOREIGN),
        ("00.json.0123456789abcdef", Problem.LEFTOVER),
    }


async def test_failed_write_counts_nothing_and_is_reported(root: Path) -> None:
    files = Faulty()
    async with JsonFileStorage(root, files) as storage:
        guess(storage, 4)
        before = tree(root)
        for failing in ("write", "replace"):
            files.failing = {failing}
            with pytest.raises((StorageFull, StorageUnavailable)):
                guess(storage, 1)
            assert tree(root) == before
        files.failing = set()
        assert not guess(storage, 1)
        assert guess(storage, 1)
