"""The files of counters: how they grow, are replaced and removed, and writes that fail."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from chatbot.adapters.filesystem.atomic import locked
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files import counter_file
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.errors import StorageFull, StorageUnavailable
from chatbot.domain.ports.counters import Addition, CounterKey
from chatbot.domain.throttling import WINDOW
from counter_files import (
    GUESSED,
    T0,
    Faulty,
    attempts_of,
    file_of,
    guess,
    later,
    lines_of,
    neighbours,
    of_row,
    stored,
)
from repositories import here_and_now


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


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
