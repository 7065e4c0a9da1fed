"""A backup is complete, or refused before any of it is used."""

import gzip
import json
import os
import random
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chatbot.adapters.storage import backup_file
from chatbot.adapters.storage.backup_file import BackupFile
from chatbot.domain.errors import Conflict, StorageUnavailable
from chatbot.domain.permissions import ROLE_PERMISSIONS, Permission, Role
from chatbot.domain.ports.blobs import Blob
from chatbot.domain.ports.export import Item
from chatbot.domain.ports.journal import JournalEntry
from samples import EVERYTHING, T0, conversation, everything_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backup.gz"


def test_backup_holds_what_was_given(path: Path) -> None:
    BackupFile(path).write(EVERYTHING, made_at=T0)
    assert everything_in(BackupFile(path)) == EVERYTHING
    assert BackupFile(path).verify() == len(EVERYTHING)
    assert len(BackupFile(path).session_keys()) == 4


def test_backup_of_version_1_is_read() -> None:
    """The file was written by the last release with this version, which had no journals and no blobs."""
    old = Path(__file__).parent / "written" / "backup_version_1.gz"
    expected = [item for item in EVERYTHING if not isinstance(item, Blob | JournalEntry | Role)]
    roles = [
        Role(name="admin", permissions=ROLE_PERMISSIONS),  # `administer`
        Role(name="auditor", permissions=frozenset({Permission.CHAT})),
        Role(name="employee", permissions=frozenset({Permission.CHAT, Permission.MEMORY})),
    ]
    assert everything_in(BackupFile(old)) == [*roles, *expected]


def test_empty_store_can_be_backed_up(path: Path) -> None:
    BackupFile(path).write([], made_at=T0)
    assert everything_in(BackupFile(path)) == []


def test_backup_is_readable_by_its_owner_only_and_leaves_no_other_file(path: Path) -> None:
    BackupFile(path).write(EVERYTHING, made_at=T0)
    if os.name != "nt":  # Windows has no such rights
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_existing_file_is_never_overwritten(path: Path) -> None:
    path.write_bytes(b"precious")
    with pytest.raises(Conflict, match="was not changed"):
        BackupFile(path).write(EVERYTHING, made_at=T0)
    assert path.read_bytes() == b"precious"
    assert list(path.parent.iterdir()) == [path]


def test_backup_that_fails_leaves_no_file(path: Path) -> None:
    def failing() -> Iterator[Item]:
        yield conversation()
        raise StorageUnavailable

    with pytest.raises(StorageUnavailable):
        BackupFile(path).write(failing(), made_at=T0)
    assert list(path.parent.iterdir()) == []


def test_backup_can_be_read_with_other_programs(path: Path) -> None:
    BackupFile(path).write(EVERYTHING, made_at=T0)
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert lines[0]["format"] == "chatbot backup"
    assert lines[-1]["sealed"]["items"] == len(EVERYTHING)


def test_truncated_backup_is_refused_before_anything_is_read(path: Path) -> None:
    BackupFile(path).write(EVERYTHING, made_at=T0)
    whole = path.read_bytes()
    for length in {0, 1, 17, *random.Random(1).sample(range(len(whole)), 60), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(StorageUnavailable):
            next(BackupFile(path).items())


def test_backup_with_a_flipped_bit_is_refused_or_unchanged(path: Path) -> None:
    """The same content if the byte only affects gzip's header."""
    BackupFile(path).write(EVERYTHING, made_at=T0)
    whole = path.read_bytes()
    harmless = []
    for place in sorted({*range(12), *random.Random(2).sample(range(len(whole)), 100)}):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            assert everything_in(BackupFile(path)) == EVERYTHING
        except StorageUnavailable:
            continue
        harmless.append(place)
    assert set(harmless) <= set(range(4, 10))


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:-1],
        lambda lines: [*lines[:2], *lines[3:]],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        lambda lines: lines[1:],
        lambda lines: [],
        lambda lines: [lines[0].replace(b'"version":2', b'"version":3'), *lines[1:]],
        lambda lines: [b'{"hello":1}\n'],
        lambda lines: [b"hello"],
    ],
    ids=["no seal", "dropped", "more", "reordered", "no header", "empty", "newer", "other", "text"],
)
def test_valid_gzip_with_other_content_is_refused(path: Path, change: object) -> None:
    BackupFile(path).write(EVERYTHING, made_at=T0)
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(change(lines))))  # type: ignore[operator] # one of the above
    with pytest.raises(StorageUnavailable, match="backup"):
        next(BackupFile(path).items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"message_count": 7}, "what its session counts"),
        ({"last_seq": 1}, "what its session counts"),
        ({"last_seq": 2**62}, "what its session counts"),
        ({"last_seq": 2**70}, "not a whole number"),
        ({"epoch": 2**70}, "not a whole number"),
    ],
)
def test_session_whose_message_count_is_wrong_is_refused(
    path: Path, change: dict[str, int], words: str
) -> None:
    one = conversation()
    write_backup_unseen(path, replace(one, session=replace(one.session, **change)))  # type: ignore[arg-type] # they are numbers
    with pytest.raises(StorageUnavailable, match=words):
        everything_in(BackupFile(path))


def write_backup_unseen(path: Path, item: Item) -> None:
    path.write_bytes(b"".join(backup_file._packed([item], made_at=T0)))


def test_concatenated_backups_are_refused(path: Path) -> None:
    BackupFile(path).write(EVERYTHING, made_at=T0)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(StorageUnavailable, match="not a valid backup"):
        next(BackupFile(path).items())
