"""The files of counters, with log-in attempts as the example."""

import asyncio
import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from chatbot.adapters.filesystem.atomic import locked
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files import counter_file, counters
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


async def test_counter_files_are_readable_but_contain_no_names(root: Path) -> None:
    async with JsonFileStorage(root) as storage:
        guess(storage, 2)
    stamp = "2026-03-01T12:15:00.123457Z"
    assert stored(file_of(root)) == {GUESSED.key: {stamp: 2}}
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


async def test_flood_of_names_neither_grows_the_file_nor_unthrottles_the_attacked_account(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "MAX_NAMES", 8)
    async with JsonFileStorage(root) as storage:
        guess(storage)
        for other in neighbours(20):
            attempts_of(storage).count([other], at=later(1))
        assert guess(storage, 1) == timedelta(seconds=30)
    assert len(stored(file_of(root))) == 8


async def test_no_counter_of_another_kind_is_dropped_from_a_full_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "MAX_NAMES", 2)
    async with JsonFileStorage(root) as storage:
        for number in range(9):
            here_and_now(storage).counters.add([of_row(f"{number}")], now=T0)
        assert len(here_and_now(storage).counters.scan("budget", "", now=T0)) == 9


async def test_erasing_is_synced_and_leaves_nothing_in_the_files(root: Path) -> None:
    files = Faulty()
    async with JsonFileStorage(root, files) as storage:
        here_and_now(storage).counters.add([of_row("turns")], now=T0)
        files.synced = 0
        assert here_and_now(storage).counters.erase("ana") == {"budget": 1}
        assert files.synced > 0
        assert here_and_now(storage).counters.erase("ana") == {}
    for path, (_, content) in tree(root / "counters").items():
        assert b"ana@" not in content, path


def of_row(metric: str) -> Addition:
    key = CounterKey("budget", f"2026-03-01|ana|{metric}")
    return Addition(key=key, amount=1, expires_at=later(60))


@pytest.mark.parametrize("change", ["^\x01", "^\x80", "^\xff", "=\n", "=\0"])
async def test_every_changed_byte_is_detected(root: Path, change: str) -> None:
    async with JsonFileStorage(root) as storage:
        guess(storage)
    for damaged in changed_bytes(file_of(root).read_bytes(), change):
        with pytest.raises(StorageUnavailable):
            counter_file.decode_amounts(damaged)


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


async def test_counters_that_differ_in_the_last_part_are_in_one_file_written_once(
    root: Path,
) -> None:
    row, files = [of_row(f"{number}") for number in range(6)], Faulty()
    async with JsonFileStorage(root, files) as storage:
        here_and_now(storage).counters.add(row, now=T0)
        [file] = (root / "counters" / "budget").glob("*.jsonl")
        files.written = 0
        here_and_now(storage).counters.settle(row[:3], row, now=T0)
        assert files.written == 1
        assert len(lines_of(file)) == 3


# --- files that grow, and are replaced ---------------------------------------------------------


async def test_long_file_is_replaced_by_one_without_what_has_expired(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counter_file, "_SHORT", 2000)
    sizes = []
    async with JsonFileStorage(root) as storage, JsonFileStorage(root) as other:
        for number in range(60):
            for each in (storage, other):
                attempts_of(each).count([GUESSED], at=T0 + number * WINDOW)
            sizes.append(file_of(root).stat().st_size)
        held = stored(file_of(root))[GUESSED.key]
        assert attempts_of(storage).count([GUESSED], at=T0 + 60 * WINDOW) == timedelta(0)
    assert max(sizes) < 3000
    assert min(sizes[20:]) < 1500, "it was replaced"
    assert len(held) < 20


async def test_file_that_another_process_has_replaced_is_read_again(root: Path) -> None:
    async with JsonFileStorage(root) as one, JsonFileStorage(root) as other:
        guess(one, 4)
        guess(other, 1)
        here_and_now(one).counters.erase(GUESSED.key)
        assert not guess(other, 5)
        assert guess(one, 1) == timedelta(seconds=30)


async def test_files_of_past_months_are_removed_when_one_of_another_month_is_made(
    root: Path,
) -> None:
    async with JsonFileStorage(root) as storage:
        guess(storage)
        [neighbour] = neighbours(1)
        attempts_of(storage).count([neighbour], at=T0 + timedelta(days=20))
        assert file_of(root).exists(), "it is of this month"
        attempts_of(storage).count([neighbour], at=T0 + timedelta(days=31))
        assert not file_of(root).exists()
        assert file_of(root, month="2026-04").exists()


async def test_amounts_of_a_counter_that_expire_in_different_months_count_together(
    root: Path,
) -> None:
    key = CounterKey("budget", "ana")
    ends = [T0 + timedelta(minutes=3), T0 + timedelta(days=31), T0 + timedelta(days=400)]
    parts = [Addition(key=key, amount=10, expires_at=at, limit=30) for at in ends]
    async with JsonFileStorage(root) as storage:
        for each in parts:
            assert not await storage.add_counts([each], now=T0)
        assert await storage.add_counts(parts[:1], now=T0) == parts[:1]
        assert len([*(root / "counters" / "budget").glob("*.jsonl")]) == 3
        assert here_and_now(storage).counters.scan("budget", "ana", now=T0) == {"ana": 30}
        here_and_now(storage).counters.clear([key])
        assert not await storage.add_counts(parts, now=T0)


async def test_files_of_earlier_versions_are_removed(root: Path) -> None:
    old = root / "counters" / "attempts" / "0f.json"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"{}")
    async with JsonFileStorage(root):
        assert not old.exists()


async def test_count_waits_for_another_process_in_a_thread(root: Path) -> None:
    files = Files()
    request = Addition(key=CounterKey("rate", "ana"), amount=1, expires_at=later(60), limit=1)
    async with JsonFileStorage(root) as storage:
        with locked(files, root / "counters" / ".rate.lock"):
            counting = asyncio.create_task(storage.add_counts([request], now=T0))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not counting.done()
        assert await counting == []
        assert await storage.add_counts([request], now=T0) == [request]


# --- writes that fail --------------------------------------------------------------------------


async def test_incomplete_line_is_set_aside_and_the_others_count(root: Path) -> None:
    async with JsonFileStorage(root) as storage, JsonFileStorage(root) as other:
        guess(storage, 4)
        whole = file_of(root).read_bytes()
        file_of(root).write_bytes(whole + b'{"set":[["')
        assert not guess(other, 1)
        assert guess(storage, 1) == timedelta(seconds=30)
        [aside] = (root / "counters" / "attempts" / ".work").iterdir()
        assert aside.read_bytes() == whole + b'{"set":[["'


async def test_failed_write_counts_nothing_and_is_reported(root: Path) -> None:
    files = Faulty()
    async with JsonFileStorage(root, files) as storage:
        files.failing = {"replace"}
        with pytest.raises(StorageUnavailable):
            guess(storage, 1)
        assert not file_of(root).exists()
        files.failing = set()
        guess(storage, 4)
        whole = file_of(root).read_bytes()
        files.failing = {"write"}
        for _ in range(3):
            with pytest.raises(StorageFull):
                guess(storage, 1)
            assert file_of(root).read_bytes() == whole
        files.failing = set()
        assert not guess(storage, 1)
        assert guess(storage, 1)
