"""The files of counters: what they hold, and damage to them."""

from datetime import timedelta
from pathlib import Path

import pytest

from chatbot.adapters.storage.json_files import counter_file, counters
from chatbot.adapters.storage.json_files.check import Problem
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.errors import StorageUnavailable
from counter_files import (
    GUESSED,
    LINE,
    T0,
    Faulty,
    attempts_of,
    changed_bytes,
    file_of,
    guess,
    later,
    neighbours,
    of_row,
    stored,
    tree,
)
from repositories import here_and_now


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


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


@pytest.mark.parametrize("change", ["^\x01", "^\x80", "^\xff", "=\n", "=\0"])
async def test_every_changed_byte_is_detected(root: Path, change: str) -> None:
    async with JsonFileStorage(root) as storage:
        guess(storage)
    for damaged in changed_bytes(file_of(root).read_bytes(), change):
        with pytest.raises(StorageUnavailable):
            counter_file.decode_amounts(damaged)


@pytest.mark.parametrize("damaged", [b"", b"{}\n", b"[" * 9999 + b"\n", b"\xff\xfe\n"])
async def test_damaged_file_is_set_aside_and_counting_restarts(
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


async def test_file_of_a_newer_version_is_set_aside_unchanged(root: Path) -> None:
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
        assert "Fix: remove the file" in finding.detail


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
