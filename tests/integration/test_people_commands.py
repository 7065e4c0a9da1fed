"""`chatbot user list|disable|enable|password` on every persistent store."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chatbot.domain.passwords import MIN_PASSWORD_CHARS
from commands import Run

PASSWORD = "violet kettle drums at noon"
OTHER_PASSWORD = "a quite different set of words"
ANA, LUIS = "ana@example.com", "luis@example.com"


@pytest.fixture(params=["json", "sqlite", "postgres"])
def staffed(ready: Run, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A store with the administrator Ana and the employee Luis."""
    if request.param == "sqlite":
        monkeypatch.setenv("STORAGE_URL", f"sqlite:///{request.getfixturevalue('sqlite_store')}")
    elif request.param == "postgres":
        monkeypatch.setenv("STORAGE_URL", request.getfixturevalue("postgres_store"))
    assert ready("admin", "create", "--email", ANA, "--password-stdin", text=PASSWORD)[0] == 0
    create = ("user", "create", "--email", LUIS, "--role", "employee", "--department", "sales")
    assert ready(*create, "--password-stdin", text=PASSWORD)[0] == 0
    return ready


def listed(run: Run) -> dict[str, dict[str, Any]]:
    code, out, err = run("user", "list", "--json")
    assert (code, err) == (0, "")
    return {each["email"]: each for each in json.loads(out)["users"]}


def test_users_are_listed_with_state_roles_and_department(staffed: Run) -> None:
    assert staffed("user", "disable", LUIS)[0] == 0
    assert staffed("user", "list") == (
        0,
        (
            "e-mail            state     roles     department\n"
            "ana@example.com   active    admin     -\nluis@example.com  disabled  employee  sales\n"
        ),
        "",
    )
    luis = listed(staffed)[LUIS]
    assert luis["created_at"].endswith("Z")
    assert {key: luis[key] for key in luis if key not in {"id", "created_at"}} == {
        "email": LUIS,
        "roles": ["employee"],
        "department": "sales",
        "is_active": False,
        "last_login_at": None,
        "expires_at": None,
        "has_password": True,
        "source": "local",
    }
    assert "argon2" not in staffed("user", "list", "--json")[1]


@pytest.mark.parametrize("form", [(LUIS,), ("--email", f" {LUIS.upper()} ")])
def test_user_is_disabled_and_enabled_once_or_more_often(
    staffed: Run, form: tuple[str, ...]
) -> None:
    for _ in range(2):
        assert staffed("user", "disable", *form) == (0, f"disabled: {LUIS}\n", "")
        assert not listed(staffed)[LUIS]["is_active"]
    for _ in range(2):
        assert staffed("user", "enable", *form) == (0, f"enabled: {LUIS}\n", "")
        assert listed(staffed)[LUIS]["is_active"]


def test_last_active_administrator_is_not_disabled(staffed: Run) -> None:
    assert staffed("user", "disable", ANA) == (
        1,
        "",
        "chatbot: This is the last active administrator: create another one first.\n",
    )
    assert listed(staffed)[ANA]["is_active"]


def test_last_administrator_who_lost_the_password_learns_how_to_set_one(staffed: Run) -> None:
    code, out, err = staffed("user", "password", ANA, "--one-time")
    assert (code, out) == (1, "")
    assert err.endswith("create another one first. Or set a password without --one-time.\n")
    assert staffed("user", "password", ANA, "--password-stdin", text=f"{OTHER_PASSWORD}\n")[0] == 0


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_user_stays_if_the_confirmation_is_declined_or_does_not_come(
    staffed: Run, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("chatbot.entrypoints.commands.users.sys", terminal)
    code, out, err = staffed("user", "delete", LUIS, text=answer)
    assert code == 1
    assert out.startswith(f"Erase {LUIS} and all conversations of this user?")
    assert err == "chatbot: Aborted.\n"
    assert LUIS in listed(staffed)
    assert staffed("user", "delete", LUIS, text="y\n")[0] == 0
    assert LUIS not in listed(staffed)


def test_password_is_changed_and_a_bad_one_is_refused_with_the_reason(staffed: Run) -> None:
    change = ("user", "password", LUIS, "--password-stdin")
    assert staffed(*change, text=f"{OTHER_PASSWORD}\n") == (0, f"password changed: {LUIS}\n", "")
    code, out, err = staffed(*change, text="short\n")
    assert (code, out) == (1, "")
    assert str(MIN_PASSWORD_CHARS) in err
    assert "short" not in err


@pytest.mark.parametrize("command", ["disable", "enable", "password"])
def test_unknown_user_is_refused_with_the_command_to_run(staffed: Run, command: str) -> None:
    options = ("--password-stdin",) if command == "password" else ()
    code, out, err = staffed("user", command, "eva@example.com", *options, text=OTHER_PASSWORD)
    assert (code, out) == (1, "")
    assert (
        err
        == "chatbot: No user has this e-mail address: list the users with `chatbot user list`.\n"
    )


@pytest.mark.parametrize("names", [(), (ANA, "--email", LUIS)])
@pytest.mark.parametrize("command", ["disable", "enable", "password"])
def test_command_needs_exactly_one_user(ready: Run, command: str, names: tuple[str, ...]) -> None:
    code, out, err = ready("user", command, *names, text=PASSWORD)
    assert (code, out) == (2, "")
    assert err.startswith("chatbot: ")
    assert "name exactly one user" in err


def test_empty_store_names_the_command_that_makes_the_first_user(ready: Run) -> None:
    assert "chatbot admin create" in ready("user", "list")[1]
    assert listed(ready) == {}


def test_control_characters_of_a_manual_edit_are_escaped(ready: Run, tmp_path: Path) -> None:
    evil = {"id": "x", "email": "x@example.com", "password_hash": "x", "department": "\x1b[2J\x9b"}
    path = tmp_path / "data" / "auth" / "users.json"
    path.write_text(json.dumps({"version": 1, "users": [evil]}), encoding="utf-8")
    for options in ((), ("--json",)):
        out = ready("user", "list", *options)[1]
        assert all(char.isprintable() or char == "\n" for char in out)


def test_commands_are_refused_with_memory_storage(
    ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_URL", "memory:")
    for command in (("list",), ("disable", ANA), ("enable", ANA), ("password", ANA)):
        code, _, err = ready("user", *command, text=PASSWORD)
        assert code == 1
        assert err.startswith("chatbot: ")
