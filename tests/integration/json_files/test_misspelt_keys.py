"""A misspelt key of users.json or roles.json is reported, and does not change what a user may do."""

import json
from pathlib import Path
from typing import Any

import pytest

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.identity import MAX_TOKEN_VERSION, UserId
from json_store import user, users_of

ANA: dict[str, Any] = {
    "id": "ana",
    "email": "ana@example.com",
    "password_hash": "$argon2id$old",
    "roles": ["employee"],
    "department": "sales",
    "created_at": "2026-03-01T12:00:00Z",
}


def write(root: Path, *entries: dict[str, Any]) -> Path:
    path = root / "auth" / "users.json"
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    path.write_text(json.dumps({"version": 1, "users": list(entries)}), "utf-8")
    return path


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("is_activ", "is_active"),
        ("isActive", "is_active"),
        ("Is_Active", "is_active"),
        ("is-active", "is_active"),
        ("active", "is_active"),
        ("disabled", "is_active"),
        ("expires", "expires_at"),
        ("expiresAt", "expires_at"),
        ("valid_until", "expires_at"),
        ("token_versions", "token_version"),
        ("one_time_untill", "one_time_until"),
    ],
)
async def test_misspelt_key_is_refused_by_its_record_and_reported(
    root: Path, key: str, meant: str
) -> None:
    path = write(root, ANA, {**ANA, "id": "eva", "email": "eva@example.com", key: False})
    before = path.read_bytes()
    async with JsonFileStorage(root) as storage:
        with pytest.raises(StorageUnavailable, match=rf"record 2: .*{meant}") as refused:
            users_of(storage).by_id(UserId("ana"))
        assert any(meant in line for line in await storage.inspect())
    assert path.read_bytes() == before
    assert "eva" not in str(refused.value)


@pytest.mark.parametrize("key", ["note", "phone", "name", "manager", "created", "mail", "locale"])
async def test_other_keys_are_kept(root: Path, key: str) -> None:
    path = write(root, {**ANA, key: "x"})
    async with JsonFileStorage(root) as storage:
        assert users_of(storage).by_id(UserId("ana"))
        users_of(storage).add(user(1))
    assert json.loads(path.read_text("utf-8"))["users"][0][key] == "x"


async def test_misspelt_key_of_a_role_is_refused(root: Path) -> None:
    write(root, ANA)
    path = root / "auth" / "roles.json"
    roles = {"lead": {"permissions": ["users.read"], "own_departement_only": True}}
    path.write_text(json.dumps({"version": 1, "roles": roles}), "utf-8")
    async with JsonFileStorage(root) as storage:
        with pytest.raises(StorageUnavailable, match="own_department_only"):
            await storage.transact(lambda tx: tx.roles.all())


@pytest.mark.parametrize(("length", "is_valid"), [(26, True), (27, False), (64, False)])
async def test_id_fits_into_the_name_of_a_folder(
    root: Path, length: int, *, is_valid: bool
) -> None:
    write(root, {**ANA, "id": "日" * length})
    async with JsonFileStorage(root) as storage:
        if not is_valid:
            with pytest.raises(StorageUnavailable, match="id is not"):
                users_of(storage).all()
            return
        assert len(users_of(storage).all()) == 1


async def test_edit_of_the_expiry_revives_no_token(root: Path) -> None:
    write(root, ANA)
    stamps = set()
    async with JsonFileStorage(root) as storage:
        for ends in ({}, {"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at": None}):
            write(root, {**ANA, **ends})
            [found] = users_of(storage).all()
            stamps.add(found.token_stamp)
    assert len(stamps) == 3


async def test_last_token_version_is_never_followed_by_an_earlier_one(root: Path) -> None:
    path = write(root, {**ANA, "token_version": MAX_TOKEN_VERSION})
    async with JsonFileStorage(root) as storage:
        for is_active in (False, True):
            write(root, {**ANA, "token_version": MAX_TOKEN_VERSION, "is_active": is_active})
            [found] = users_of(storage).all()
            assert found.token_version == MAX_TOKEN_VERSION
        assert not found.may_sign_in(found.created_at), "an old token could fit again"
        renewed = found.with_password_hash("$argon2id$new")
        users_of(storage).replace(renewed, old=found, roles={})
        [found] = users_of(storage).all()
        assert (found.token_version, found.may_sign_in(found.created_at)) == (0, True)
    assert json.loads(path.read_text("utf-8"))["users"][0]["token_version"] == 0
