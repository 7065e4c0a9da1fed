"""Records in machine-written files: shards with checksums."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files import check
from chatbot.adapters.storage.json_files.check import Problem, inspect
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.ports.records import Records
from notes import NOTES, Note
from repositories import here_and_now

NOTES_OF_ALL_SHARDS = [Note(shelf="s", name=f"{n}", label=f"{n}") for n in range(100)]
ONE = NOTES_OF_ALL_SHARDS[0]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def records_of(storage: JsonFileStorage) -> Records:
    return here_and_now(storage).records


def shard_of(root: Path, note: Note) -> Path:
    [found] = [
        path
        for path in (root / "records" / "notes").glob("*.json")
        if note in [Note(**each) for each in json.loads(path.read_bytes())["records"]]
    ]
    return found


async def fill(root: Path) -> None:
    async with JsonFileStorage(root) as storage:
        for note in NOTES_OF_ALL_SHARDS:
            records_of(storage).put(NOTES, note, expected=None)


async def test_record_that_another_process_writes_is_seen_at_once(root: Path) -> None:
    async with JsonFileStorage(root) as one, JsonFileStorage(root) as other:
        records_of(one).put(NOTES, ONE, expected=None)
        for pages in range(1, 20):
            found = records_of(other).get(NOTES, "s", "0")
            assert found == replace(ONE, pages=pages - 1)
            records_of(one).put(NOTES, replace(ONE, pages=pages), expected=found)
        assert records_of(other).page(NOTES) == [replace(ONE, pages=19)]


async def test_damaged_shard_is_reported_not_overwritten_and_affects_no_other(root: Path) -> None:
    await fill(root)
    path = shard_of(root, ONE)
    damaged = path.read_bytes().replace(b'"pages":0', b'"pages":1', 1)
    path.write_bytes(damaged)
    others = [note for note in NOTES_OF_ALL_SHARDS if shard_or_none(path, note) is None]
    assert len(others) > 50
    async with JsonFileStorage(root) as storage:
        records = records_of(storage)
        for attempt in (
            lambda: records.get(NOTES, "s", "0"),
            lambda: records.page(NOTES),
            lambda: records.put(NOTES, replace(ONE, pages=9), expected=ONE),
            lambda: records.remove(NOTES, "s", "0"),
        ):
            with pytest.raises(StorageUnavailable, match="checksum mismatch"):
                attempt()
        assert [records.get(NOTES, note.shelf, note.name) for note in others] == others
        records.put(NOTES, replace(others[1], pages=5), expected=others[1])
        records.remove(NOTES, others[0].shelf, others[0].name)
        assert records.get(NOTES, others[0].shelf, others[0].name) is None
    assert path.read_bytes() == damaged


def shard_or_none(path: Path, note: Note) -> Path | None:
    return path if f'"name":"{note.name}"'.encode() in path.read_bytes() else None


async def test_doctor_checks_the_shards_of_every_kind(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "KINDS", (NOTES,))
    await fill(root)
    folder = root / "records" / "notes"
    assert inspect(root, Files()) == []
    path = shard_of(root, ONE)
    path.write_bytes(path.read_bytes()[:-9])
    (folder / "letter.txt").write_text("Dear Sir")
    (folder / ".work" / "ab.json.0123").write_text("{")
    for each in (folder / "letter.txt", folder / ".work" / "ab.json.0123"):
        each.chmod(0o600)
    found = {Path(finding.path).name: finding.problem for finding in inspect(root, Files())}
    assert found == {
        path.name: Problem.DAMAGED,
        "letter.txt": Problem.FOREIGN,
        "ab.json.0123": Problem.LEFTOVER,
    }


async def test_shards_are_private_json_files(
    root: Path,
) -> None:
    await fill(root)
    for path in (root / "records" / "notes").glob("*.json"):
        document = json.loads(path.read_bytes())
        assert document["version"] == 1
        assert document["records"]
        assert not path.stat().st_mode & 0o077
    assert not (root / "records").stat().st_mode & 0o077
