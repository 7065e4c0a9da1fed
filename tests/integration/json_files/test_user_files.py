"""Users and roles in files that may be edited by hand."""

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chatbot.adapters.storage.json_files.check import Problem
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.errors import (
    StorageUnavailable,
)
from chatbot.domain.identity import User, UserId
from chatbot.domain.permissions import DEFAULT_ROLES
from json_store import Faulty, user, users_of
from repositories import here_and_now


class TestUserFiles:
    async def test_manual_edit_applies_from_the_next_call(self, root: Path) -> None:
        path = root / "auth" / "users.json"
        async with JsonFileStorage(root) as storage:
            users_of(storage).add(user(1))
            for active in (False, True, False):
                document = json.loads(path.read_text("utf-8"))
                document["users"][0]["is_active"] = active
                path.write_text(json.dumps(document), "utf-8")
                found = users_of(storage).by_id(user(1).id)
                assert found is not None
                assert found.is_active is active

    async def test_two_edits_within_one_tick_of_the_clock_are_both_seen(self, root: Path) -> None:
        path, files = root / "auth" / "users.json", Faulty()
        async with JsonFileStorage(root, files) as storage:
            users_of(storage).add(user(1))
            files.now = path.stat().st_mtime_ns
            assert users_of(storage).by_email("u1@example.com") is not None
            path.write_bytes(path.read_bytes().replace(b"u1@", b"u2@"))
            os.utime(path, ns=(files.now, files.now))
            assert users_of(storage).by_email("u2@example.com") is not None

    async def test_unchanged_file_is_parsed_once(self, root: Path) -> None:
        path, files = root / "auth" / "users.json", Faulty()
        async with JsonFileStorage(root, files) as storage:
            users_of(storage).add(user(1))
            files.now = path.stat().st_mtime_ns + 10**9
            for _ in range(3):
                assert users_of(storage).by_id(user(1).id) == user(1)
            files.opened = 0
            users_of(storage).by_id(user(1).id)
            assert files.opened == 0

    async def test_unknown_keys_and_old_ids_stay_in_the_file(self, root: Path) -> None:
        path = root / "auth" / "users.json"
        path.parent.mkdir(parents=True, mode=0o700)
        old = {"id": 7, "email": " Ana@Example.COM", "password_hash": "old", "nick": "Ani ñ"}
        path.write_text(json.dumps({"note": "by hand", "users": [old]}), "utf-8")
        async with JsonFileStorage(root) as storage:
            users = users_of(storage)
            found = users.by_email("ana@example.com")
            assert found == User(
                id=UserId("7"),
                email="ana@example.com",
                password_hash="old",
                roles=(),
                department="",
                created_at=datetime.fromtimestamp(0, UTC),
            )
            users.set_password_hash(found.id, old="old", new="new")
            users.add(user(1))
        document = json.loads(path.read_text("utf-8"))
        assert (document["note"], document["version"]) == ("by hand", 1)
        assert document["users"][0] == {**old, "password_hash": "new", "token_version": 1}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 or os.name == "nt"

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "{",
            "[]",
            "null",
            '{"version": 2, "users": []}',
            '{"version": "1", "users": []}',
            '{"users": {}}',
            '{"users": [7]}',
            '{"users": [{"email": "a@b.c", "password_hash": "x"}]}',
            '{"users": [{"id": "", "email": "a@b.c", "password_hash": "x"}]}',
            '{"users": [{"id": true, "email": "a@b.c", "password_hash": "x"}]}',
            '{"users": [{"id": "1", "email": "no address", "password_hash": "x"}]}',
            '{"users": [{"id": "1", "email": "a@b.c", "password_hash": "x", "roles": "admin"}]}',
            '{"users": [{"id": "1", "email": "a@b.c", "password_hash": ""}, {"id": "2", "email": "A@B.C", "password_hash": ""}]}',
            "[" * 100_000,
        ],
    )
    async def test_invalid_edit_is_refused_and_left_untouched(
        self, root: Path, content: str
    ) -> None:
        path = root / "auth" / "users.json"
        async with JsonFileStorage(root) as storage:
            path.write_text(content, "utf-8")
            with pytest.raises(StorageUnavailable, match=r"users\.json"):
                users_of(storage).by_email("a@b.c")
            with pytest.raises(StorageUnavailable):
                users_of(storage).add(user(1))
            assert path.read_text("utf-8") == content
            [finding] = [f for f in await storage.findings() if f.problem is not Problem.EXPOSED]
            assert finding.path == str(Path("auth", "users.json"))

    async def test_roles_are_made_once_and_unknown_permissions_grant_nothing(
        self, root: Path
    ) -> None:
        path = root / "auth" / "roles.json"
        async with JsonFileStorage(root) as storage:
            assert here_and_now(storage).roles.all() == DEFAULT_ROLES
            path.unlink()
            assert here_and_now(storage).roles.all() == {}
            await storage.make_initial_records()
            assert here_and_now(storage).roles.all() == DEFAULT_ROLES
            path.write_text('{"roles": {"guest": {"permissions": ["chat", "fly"]}}}', "utf-8")
            await storage.make_initial_records()
            roles = here_and_now(storage).roles.all()
            assert {name: set(role.permissions) for name, role in roles.items()} == {
                "guest": {"chat"}
            }
            path.write_text('{"version": 2, "roles": {}}', "utf-8")
            with pytest.raises(StorageUnavailable, match="newer"):
                here_and_now(storage).roles.all()
