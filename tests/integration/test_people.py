"""A store without a usable account is reported with the command that fixes it."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chatbot.entrypoints.commands.administrators import people_problem
from chatbot.entrypoints.container.parts import build_storage
from commands import Run
from process import running
from service import API_KEY, JWT_SECRET, PASSWORD, settings_for_tests

ADMIN = ("admin", "create", "--email", "ana@example.com", "--password-stdin")
USER = (
    *("user", "create", "--email", "ben@example.com", "--role", "employee"),
    *("--department", "sales", "--password-stdin"),
)
MAKE_ADMIN = "`chatbot admin create --email you@example.com`"


def people_line(run: Run) -> tuple[int, str]:
    code, out, _ = run("doctor")
    [line] = [line for line in out.splitlines() if " people: " in line]
    return code, line


def test_doctor_names_the_command_for_a_store_without_users(ready: Run) -> None:
    code, line = people_line(ready)
    assert code == 1
    assert line.startswith("FAIL  people: no one can log in: there are no users. Fix: ")
    assert MAKE_ADMIN in line

    assert ready(*ADMIN, text=PASSWORD)[0] == 0
    assert people_line(ready) == (0, "ok    people: at least one active administrator")


def test_doctor_accepts_a_service_that_never_had_users(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service called only by applications: all settings come from the environment."""
    for name, value in (("API_KEY", API_KEY), ("JWT_SECRET", JWT_SECRET)):
        monkeypatch.setenv(name, value)
    code, line = people_line(run)
    assert code == 0
    assert line.startswith("ok    people: no one can log in: there are no users: ")
    assert MAKE_ADMIN in line


def test_doctor_suggests_migrating_when_the_default_store_has_users(
    ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ready(*ADMIN, text=PASSWORD)[0] == 0
    monkeypatch.setenv("STORAGE_URL", "sqlite:///new.db")
    assert ready("init")[0] == 0

    code, line = people_line(ready)

    assert code == 1
    assert "`chatbot migrate --from json:data --to sqlite:///new.db`" in line
    assert ready("migrate", "--from", "json:data", "--to", "sqlite:///new.db")[0] == 0
    assert people_line(ready)[0] == 0


def test_users_without_an_administrator_are_reported(ready: Run) -> None:
    assert ready(*USER, text=PASSWORD)[0] == 0

    code, line = people_line(ready)

    assert code == 1
    assert "there is no administrator. Fix: " in line
    assert MAKE_ADMIN in line
    assert "migrate" not in line


def test_disabled_administrators_are_named(ready: Run, tmp_path: Path) -> None:
    assert ready(*ADMIN, text=PASSWORD)[0] == 0
    users = tmp_path / "data" / "auth" / "users.json"
    edited = users.read_text("utf-8").replace('"is_active": true', '"is_active": false')
    users.write_text(edited, "utf-8")

    code, line = people_line(ready)

    assert code == 1
    assert "all administrators are disabled or have expired. Fix: " in line


@pytest.mark.parametrize("command", [ADMIN, USER])
def test_command_without_roles_names_the_command_that_creates_them(
    ready: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "data" / "auth" / "roles.json").unlink()
    users = tmp_path / "data" / "auth" / "users.json"
    users.write_text('{"version": 1, "users": []}', "utf-8")

    code, _, err = ready(*command, text=PASSWORD)

    assert code == 1
    assert "`chatbot init`" in err
    assert "`chatbot migrate --from OLD --to NEW`" in err
    assert "create the roles of a new store with `chatbot init`" in people_line(ready)[1]
    assert ready("init")[0] == 0
    assert ready(*command, text=PASSWORD)[0] == 0


def test_roles_that_were_deleted_from_tables_are_made_again_by_init(
    ready: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STORAGE_URL", "sqlite:///chatbot.db")
    assert ready("init")[0] == 0
    with closing(sqlite3.connect(tmp_path / "chatbot.db")) as connection, connection:
        connection.execute("DELETE FROM roles")
    assert "with `chatbot init`" in people_line(ready)[1]

    assert ready("init")[0] == 0
    assert ready(*ADMIN, text=PASSWORD)[0] == 0


def test_new_folder_of_json_files_has_its_roles_without_init(
    ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_URL", "json:elsewhere")

    assert ready(*ADMIN, text=PASSWORD)[0] == 0

    assert (tmp_path / "elsewhere" / "auth" / "roles.json").is_file()


async def test_memory_storage_is_not_blamed_for_having_no_users() -> None:
    settings = settings_for_tests()
    async with build_storage(settings) as storage:
        assert await people_problem(storage, settings) is None


@pytest.mark.skipif(os.name == "nt", reason="starts a service as a process")
async def test_service_reports_at_startup_that_no_user_can_log_in(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        pass
    lines = service.out.read_text("utf-8").splitlines()
    assert any(
        line.startswith("people: no one can log in") and MAKE_ADMIN in line for line in lines
    )
