"""`chatbot init --upgrade` and `chatbot secrets`: what was made with the old secrets stays valid."""

import asyncio
import os
import stat
from functools import partial
from pathlib import Path

import pytest

from chatbot.adapters.security.refresh_tokens import HmacRefreshTokens
from chatbot.application.auditing import Auditing
from chatbot.domain.audit import AUDIT
from chatbot.domain.errors import StorageFull
from chatbot.domain.identity import FamilyId
from chatbot.domain.ports.journal import JournalEntry, entries_of
from chatbot.entrypoints.container.parts import build_storage
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.loading import load_settings
from commands import Run
from process import running
from service import ADMIN_EMAIL, API_KEY, JWT_SECRET, PASSWORD

OLD_ENV = f"""\
# ours
API_KEY={API_KEY}

JWT_SECRET='{JWT_SECRET}'
LOG_LEVEL=warning"""


@pytest.fixture
def old(run: Run, tmp_path: Path) -> Run:
    """Commands in a folder whose `.env` an older version has written."""
    (tmp_path / ".env").write_text(OLD_ENV, encoding="utf-8")
    (tmp_path / ".env").chmod(0o644)
    assert run("init")[0] == 0
    return run


def secrets_in(settings: Settings) -> set[str]:
    return {value for _, value in settings.auth.named_secrets()}


def test_upgrade_appends_the_secrets_in_force_and_changes_nothing_else(
    old: Run, tmp_path: Path
) -> None:
    before = load_settings()
    code, out, err = old("init", "--upgrade")
    after = load_settings()
    assert (code, err) == (0, "")
    assert after.auth.api_key_pepper is not None
    assert after.auth.audit_key is not None
    assert list(after.auth.named_secrets()) == list(before.auth.named_secrets())
    text = (tmp_path / ".env").read_text(encoding="utf-8")
    assert text.startswith(f"{OLD_ENV}\nAPI_KEY_PEPPER=")
    assert text.removeprefix(OLD_ENV).count("\n") == 3
    assert not any(secret in out for secret in secrets_in(after))
    if os.name != "nt":
        assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert "already has" in old("init", "--upgrade")[1]
    assert (tmp_path / ".env").read_text(encoding="utf-8") == text


def test_upgrade_needs_an_env_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", API_KEY)
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)
    code, _, err = run("init", "--upgrade")
    assert (code, "without --upgrade" in err) == (2, True)
    assert not list(tmp_path.iterdir())


def test_new_env_file_needs_no_upgrade(ready: Run, tmp_path: Path) -> None:
    before = (tmp_path / ".env").read_bytes()
    assert "was not changed" in ready("init", "--upgrade")[1]
    assert (tmp_path / ".env").read_bytes() == before


def test_rotating_the_token_secret_keeps_tokens_keys_and_chain(old: Run, tmp_path: Path) -> None:
    before = load_settings().auth
    code, out, err = old("secrets", "rotate", "jwt")
    after = load_settings().auth
    assert (code, err) == (0, "")
    assert after.jwt_secrets[1:] == before.jwt_secrets
    assert after.jwt_secrets[0] != before.jwt_secrets[0]
    assert after.api_key_peppers == before.api_key_peppers
    assert after.audit_keys == before.audit_keys
    assert not any(secret in out for secret in after.jwt_secrets)
    assert "Restart the service" in out
    token = HmacRefreshTokens(before.jwt_secrets[0]).issue(FamilyId("0" * 32), 1)
    newest, *previous = after.jwt_secrets
    assert HmacRefreshTokens(newest, previous=previous).read(token) == ("0" * 32, 1)


def test_second_rotation_of_the_token_secret_needs_a_decision(old: Run, tmp_path: Path) -> None:
    assert old("secrets", "rotate", "jwt")[0] == 0
    before = (tmp_path / ".env").read_bytes()
    code, _, err = old("secrets", "rotate", "jwt")
    assert (code, "14 days" in err) == (2, True)
    assert (tmp_path / ".env").read_bytes() == before
    first = load_settings().auth
    assert old("secrets", "rotate", "jwt", "--drop-previous")[0] == 0
    second = load_settings().auth
    assert second.jwt_secrets[1:] == first.jwt_secrets[:1]
    assert second.api_key_peppers == first.api_key_peppers


@pytest.mark.parametrize(
    ("secret", "field"), [("pepper", "api_key_peppers"), ("audit", "audit_keys")]
)
def test_each_older_pepper_and_audit_key_stays(old: Run, secret: str, field: str) -> None:
    kept = list(getattr(load_settings().auth, field))
    for _ in range(3):
        assert old("secrets", "rotate", secret)[0] == 0
        found = list(getattr(load_settings().auth, field))
        assert found[1:] == kept
        kept = found
    assert len(set(kept)) == 4
    assert old("secrets", "rotate", "jwt")[0] == 0
    assert list(getattr(load_settings().auth, field)) == kept


def test_token_secret_replaced_by_hand_keeps_what_was_derived_from_it(
    old: Run, tmp_path: Path
) -> None:
    before = load_settings().auth
    text = OLD_ENV.replace("JWT_SECRET", "JWT_SECRET_PREVIOUS") + f"\nJWT_SECRET={JWT_SECRET[::-1]}"
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    after = load_settings().auth
    assert after.api_key_peppers[1:] == before.api_key_peppers
    assert after.audit_keys[1:] == before.audit_keys
    assert old("init", "--upgrade")[0] == 0
    pinned = load_settings().auth
    assert pinned.api_key_pepper is not None
    assert (pinned.api_key_peppers, pinned.audit_keys) == (after.api_key_peppers, after.audit_keys)


@pytest.mark.parametrize(
    ("secret", "variable"),
    [
        ("jwt", ("JWT_SECRET", JWT_SECRET[::-1])),
        ("pepper", ("API_KEY_PEPPER", JWT_SECRET[::-1])),
        ("audit", ("AUDIT_KEY", JWT_SECRET[::-1])),
        ("jwt", ("jwt_secret_previous", JWT_SECRET[::-1])),
        ("jwt", ("API_KEY_PEPPER", "")),  # it would hide the line that is written into .env
    ],
)
def test_secret_of_the_environment_is_not_rotated(
    old: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    secret: str,
    variable: tuple[str, str],
) -> None:
    before = (tmp_path / ".env").read_bytes()
    monkeypatch.setenv(*variable)
    code, _, err = old("secrets", "rotate", secret)
    assert code == 2
    assert f"{variable[0].upper()} is set in the environment" in err
    assert "_PREVIOUS to the value of" in err
    assert JWT_SECRET[::-1] not in err
    assert (tmp_path / ".env").read_bytes() == before


def test_secret_of_a_file_is_not_rotated(
    old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audit").write_text(JWT_SECRET[::-1], encoding="utf-8")
    before = (tmp_path / ".env").read_bytes()
    monkeypatch.setenv("AUDIT_KEY_FILE", "audit")
    code, _, err = old("secrets", "rotate", "audit")
    assert (code, "AUDIT_KEY_FILE is set" in err) == (2, True)
    assert (tmp_path / ".env").read_bytes() == before


def test_derived_secret_is_shown_for_where_it_cannot_be_written(old: Run) -> None:
    auth = load_settings().auth
    assert old("secrets", "show", "pepper")[1] == f"{auth.api_key_peppers[0]}\n"
    assert old("secrets", "show", "audit")[1] == f"{auth.raw_audit_key}\n"


def events() -> list[tuple[object, ...]]:
    async def read() -> list[JournalEntry]:
        async with build_storage(load_settings()) as storage:
            return await storage.transact(lambda tx: list(entries_of(tx.journal, AUDIT)))

    entries = asyncio.run(read())
    found = [entry.content for entry in entries if entry.content["action"] == "secret.rotate"]
    return [(each["object"], each.get("stage"), each["outcome"]) for each in found]


def test_rotation_is_recorded_with_its_end(old: Run) -> None:
    assert old("secrets", "rotate", "audit")[0] == 0
    what = {"type": "secret", "id": "audit"}
    assert events() == [
        (what, "intent", "allowed"),
        (what, "done", "allowed"),
    ]


def test_rotation_that_fails_is_recorded_as_failed(old: Run, tmp_path: Path) -> None:
    (tmp_path / ".env.new").touch()
    assert old("secrets", "rotate", "audit")[0] == 2
    assert [outcome for *_, outcome in events()] == ["allowed", "failed"]


def test_nothing_is_rotated_that_cannot_be_recorded(
    old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageFull("The store has no space left.")

    before = (tmp_path / ".env").read_bytes()
    monkeypatch.setattr(Auditing, "note", fail)
    assert old("secrets", "rotate", "jwt")[0] == 1
    assert (tmp_path / ".env").read_bytes() == before


@pytest.mark.parametrize("secret", ["jwt", "pepper", "audit"])
async def test_rotation_logs_no_one_out(old: Run, tmp_path: Path, secret: str) -> None:
    create = ("admin", "create", "--email", ADMIN_EMAIL, "--password-stdin")
    assert (await asyncio.to_thread(partial(old, *create, text=PASSWORD)))[0] == 0
    async with running(tmp_path, API_KEY=None, JWT_SECRET=None) as service:
        body = {"email": ADMIN_EMAIL, "password": PASSWORD}
        pair = await service.answer("POST", "/auth/login", json=body)
        assert (await asyncio.to_thread(old, "secrets", "rotate", secret))[0] == 0
    async with running(tmp_path, API_KEY=None, JWT_SECRET=None) as service:
        bearer = {"Authorization": f"Bearer {pair['access_token']}"}
        assert (await service.client.get("/me", headers=bearer)).status_code == 200
        spent = {"refresh_token": pair["refresh_token"]}
        new = await service.answer("POST", "/auth/refresh", json=spent)
        bearer = {"Authorization": f"Bearer {new['access_token']}"}
        assert (await service.client.get("/me", headers=bearer)).status_code == 200
