"""Token versions beside `users.json`: reverting a manual edit revives no token."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest

from chatbot.adapters.filesystem.files import Files, translated
from chatbot.adapters.storage.json_files.export import JsonFileExport
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.repositories.users import Users
from repositories import here_and_now
from samples import user


class FullDisk(Files):
    """A disk without space for new files."""

    is_full = False

    def create(self, path: Path) -> int:
        if self.is_full:
            with translated:
                raise OSError(errno.ENOSPC, "on purpose")
        return super().create(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def users_of(storage: JsonFileStorage) -> Users:
    """The users as a transaction sees them."""
    return here_and_now(storage).users


@pytest.mark.parametrize(
    "edits",
    [
        [{"password_hash": "new"}, {"password_hash": "$argon2id$old"}],
        [{"is_active": False}, {"is_active": True}],
        [{"token_version": 1}, {"token_version": 0}],
    ],
)
async def test_reverting_a_manual_edit_never_lowers_the_token_version(
    root: Path, edits: list[dict[str, object]]
) -> None:
    """Another process sees only the final state, and a later one no change at all."""
    path = root / "auth" / "users.json"
    async with JsonFileStorage(root) as storage, JsonFileStorage(root) as other:
        users_of(storage).add(user(1))
        seen = {users_of(each).all()[0].token_stamp for each in (storage, other)}
        assert len(seen) == 1
        original = path.read_bytes()
        for edit, text in zip(edits, [None, original], strict=True):
            document = json.loads(path.read_text("utf-8"))
            document["users"][0].update(edit)
            path.write_bytes(text or json.dumps(document).encode())
            stamp = users_of(storage).all()[0].token_stamp
            assert stamp not in seen
            seen.add(stamp)
        assert users_of(other).all()[0].token_stamp == stamp
        assert path.read_bytes() == original, "the file is the editor's"
    async with JsonFileStorage(root) as later:
        assert users_of(later).all()[0].token_stamp == stamp
    assert JsonFileExport(root).find(user(1)) == replace(user(1), token_version=2)


async def test_user_removed_and_restored_by_hand_has_a_later_version(root: Path) -> None:
    path = root / "auth" / "users.json"
    async with JsonFileStorage(root) as storage:
        users = users_of(storage)
        users.add(user(1))
        original = path.read_bytes()
        path.write_text('{"version": 1, "users": []}', "utf-8")
        assert users.all() == []
        path.write_bytes(original)
        assert users.all() == [replace(user(1), token_version=1)]


async def test_edit_of_one_user_leaves_the_versions_of_the_others(root: Path) -> None:
    path = root / "auth" / "users.json"
    async with JsonFileStorage(root) as storage:
        users = users_of(storage)
        for number in (1, 2):
            users.add(user(number))
        path.write_bytes(path.read_bytes().replace(b'"employee"', b'"admin"'))
        users.set_password_hash(user(1).id, old="$argon2id$old", new="stronger")
        assert [each.token_version for each in users.all()] == [1, 0]
        document = json.loads(path.read_text("utf-8"))
        document["users"][1]["is_active"] = False
        path.write_text(json.dumps(document), "utf-8")
        assert [each.token_version for each in users.all()] == [1, 1]


@pytest.mark.parametrize("damage", [b"", b"{}\n", b'{"users":{"x":[1]}}\n', b"\0" * 50])
async def test_unreadable_versions_are_rewritten(root: Path, damage: bytes) -> None:
    path = root / "auth" / ".token-versions.json"
    async with JsonFileStorage(root) as storage:
        users = users_of(storage)
        users.add(user(1))
        path.write_bytes(damage)
        users.add(user(2))
        assert [each.token_version for each in users.all()] == [0, 0]
        users.replace(replace(user(1), token_version=1), old=user(1), roles={})
    async with JsonFileStorage(root) as storage:
        assert [each.token_version for each in users_of(storage).all()] == [1, 0]


async def test_version_that_cannot_be_written_still_applies(root: Path) -> None:
    path, files = root / "auth" / "users.json", FullDisk()
    async with JsonFileStorage(root, files) as storage:
        users = users_of(storage)
        users.add(user(1))
        path.write_bytes(path.read_bytes().replace(b"$argon2id$old", b"other"))
        files.is_full = True
        assert users.all() == [replace(user(1), password_hash="other", token_version=1)]


async def test_reverting_a_manual_edit_on_a_full_disk_never_lowers_the_token_version(
    root: Path,
) -> None:
    """Neither while the disk is full, nor after it has space again."""
    path, files = root / "auth" / "users.json", FullDisk()
    async with JsonFileStorage(root, files) as storage:
        users = users_of(storage)
        users.add(user(1))
        original = path.read_bytes()
        files.is_full = True
        path.write_bytes(original.replace(b'"is_active": true', b'"is_active": false'))
        assert users.all() == [replace(user(1), is_active=False, token_version=1)]
        path.write_bytes(original)
        assert users.all() == [replace(user(1), token_version=2)]
        files.is_full = False
        path.write_bytes(original.replace(b'"employee"', b'"admin"'))
        assert users.all()[0].token_version == 2
    async with JsonFileStorage(root) as later:
        assert users_of(later).all()[0].token_version == 2
