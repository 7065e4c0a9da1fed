"""The files of blobs: private, checked, and gone without a trace."""

import sys
from pathlib import Path

import pytest

from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.blobs import JsonBlobs
from chatbot.adapters.storage.json_files.check import Problem, inspect
from chatbot.adapters.storage.json_values import Damaged

NAME = "documents/a/1/content"


@pytest.fixture
def blobs(tmp_path: Path) -> JsonBlobs:
    found = JsonBlobs(tmp_path, Files())
    found.put(NAME, b"secret " * 100)
    return found


def path_in(root: Path) -> Path:
    [path] = (path for path in (root / "blobs").rglob("*") if path.is_file())
    return path


def problems(root: Path) -> list[Problem]:
    return [finding.problem for finding in inspect(root, Files()) if "blobs" in finding.path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_only_the_account_of_the_service_reads_blobs(blobs: JsonBlobs, tmp_path: Path) -> None:
    assert blobs.get(NAME)
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "blobs").rglob("*")}
    assert modes == {0}
    path_in(tmp_path).chmod(0o644)
    assert problems(tmp_path) == [Problem.EXPOSED]


@pytest.mark.parametrize("at", [0, 20, -1])
def test_flipped_bit_is_found(blobs: JsonBlobs, tmp_path: Path, at: int) -> None:
    path = path_in(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    with pytest.raises(Damaged):
        blobs.get(NAME)
    assert problems(tmp_path) == [Problem.DAMAGED] or problems(tmp_path) == [Problem.FOREIGN]


def test_cut_or_exchanged_file_is_found(blobs: JsonBlobs, tmp_path: Path) -> None:
    path = path_in(tmp_path)
    raw = path.read_bytes()
    blobs.put("documents/a/1/other", b"other")
    for content in (raw[:-1], b"", raw + b"x"):
        path.write_bytes(content)
        with pytest.raises(Damaged):
            blobs.get(NAME)
    [other] = [each for each in path.parent.iterdir() if each != path]
    path.write_bytes(other.read_bytes())
    with pytest.raises(Damaged):
        blobs.get(NAME)


def test_foreign_and_unfinished_files_are_reported(blobs: JsonBlobs, tmp_path: Path) -> None:
    assert problems(tmp_path) == []
    (tmp_path / "blobs" / "notes").write_text("x", encoding="utf-8")
    (tmp_path / "blobs" / ".work" / "documents.a.1.content.1").write_text("x", encoding="utf-8")
    path_in_shard = path_of_shard(tmp_path) / "odd"
    path_in_shard.write_text("x", encoding="utf-8")
    for path in (tmp_path / "blobs").rglob("*"):
        path.chmod(0o700)
    assert sorted(problems(tmp_path)) == sorted(
        [Problem.FOREIGN, Problem.DAMAGED, Problem.LEFTOVER]
    )
    assert list(blobs.all()) == [NAME]


def path_of_shard(root: Path) -> Path:
    [shard] = (path for path in (root / "blobs").iterdir() if path.is_dir() and len(path.name) == 2)
    return shard


def test_removed_blob_is_nowhere(blobs: JsonBlobs, tmp_path: Path) -> None:
    blobs.remove("documents/a")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
