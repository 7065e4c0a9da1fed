"""`chatbot role ...`, `chatbot init --upgrade`, and the newer `chatbot user ...`, on every store."""

import json
from pathlib import Path
from typing import Any

import pytest

from chatbot.domain.permissions import DEFAULT_ROLES
from commands import Run
from service import PASSWORD

ANA, EVA = "ana@example.com", "eva@example.com"
CREATE_EVA = ("user", "create", "--email", EVA, "--department", "Sales", "--role", "employee")
LEAD = ("role", "set", "lead", "--permission", "users.read", "--permission", "chat")


@pytest.fixture(params=["json", "sqlite", "postgres"])
def staffed(ready: Run, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A store with the administrator Ana."""
    if request.param == "sqlite":
        monkeypatch.setenv("STORAGE_URL", f"sqlite:///{request.getfixturevalue('sqlite_store')}")
    elif request.param == "postgres":
        monkeypatch.setenv("STORAGE_URL", request.getfixturevalue("postgres_store"))
    assert ready("admin", "create", "--email", ANA, "--password-stdin", text=PASSWORD)[0] == 0
    return ready


def shown(run: Run, email: str = EVA) -> dict[str, Any]:
    code, out, err = run("user", "show", email, "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_role_is_set_listed_and_deleted(staffed: Run) -> None:
    described = (*LEAD, "--own-department-only", "--description", "Leads.")
    assert staffed(*described) == (0, "created: lead\n", "")
    listed = json.loads(staffed("role", "list", "--json")[1])["roles"]
    assert listed[-1] == {
        "name": "lead",
        "permissions": ["chat", "users.read"],
        "description": "Leads.",
        "own_department_only": True,
    }
    header, *_, last = staffed("role", "list")[1].splitlines()
    assert header.split() == ["name", "permissions", "description"]
    assert last.split() == ["lead", "chat,users.read", "(own", "department)", "Leads."]
    assert last.index("chat,") == header.index("permissions")
    assert staffed(*LEAD) == (0, "changed: lead\n", "")
    assert staffed(*CREATE_EVA, "--role", "lead", "--one-time")[0] == 0
    code, _, err = staffed("role", "delete", "lead")
    assert (code, err) == (1, "chatbot: The role is in use: 1 user has it.\n")
    assert staffed("user", "set", EVA, "--role", "employee")[0] == 0
    assert staffed("role", "delete", "lead") == (0, "deleted: lead\n", "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("role", "set", "x", "--permission", "fly"), 2),
        (("role", "set", "X Y", "--permission", "chat"), 1),
        (("role", "set", "x"), 2),
        (("role", "delete", "unknown"), 1),
        (("role", "set", "admin", "--permission", "users.manage"), 1),
        (("user", "set", EVA, "--expires-at", "tomorrow"), 2),
        (("user", "set", EVA, "--expires-at", "2030-01-01T00:00:00"), 2),
        (("user", "set", EVA, "--role", "unknown"), 1),
        (("user", "set", EVA, "--department", "a\u202eb"), 1),
        (("user", "show", "nobody@example.com"), 1),
        (("user", "delete", EVA), 1),
    ],
)
def test_wrong_command_is_refused_and_changes_nothing(
    ready: Run, arguments: tuple[str, ...], code: int
) -> None:
    assert ready("admin", "create", "--email", ANA, "--password-stdin", text=PASSWORD)[0] == 0
    assert ready(*CREATE_EVA, "--one-time")[0] == 0
    before = shown(ready), ready("role", "list", "--json")
    found, out, err = ready(*arguments)
    assert (found, out) == (code, "")
    assert err.startswith("chatbot: ")
    assert (shown(ready), ready("role", "list", "--json")) == before


def test_user_is_created_with_a_one_time_password_changed_and_erased(staffed: Run) -> None:
    code, out, err = staffed(*CREATE_EVA, "--expires-at", "2099-01-01T00:00:00Z", "--one-time")
    assert (code, err) == (0, "The one-time password is shown only this once: store it now.\n")
    [first, second] = out.splitlines()
    assert first == f"user: {EVA}"
    assert len(second.removeprefix("one-time password: ")) == 24
    assert shown(staffed)["expires_at"] == "2099-01-01T00:00:00.000000Z"
    change = ("--department", "SALES", "--role", "auditor", "--expires-at", "never")
    assert staffed("user", "set", EVA, *change, "--new-email", "E@x.es") == (
        0,
        "changed: e@x.es\n",
        "",
    )
    changed = shown(staffed, "e@x.es")
    assert (changed["department"], changed["roles"], changed["expires_at"]) == (
        "SALES",
        ["auditor"],
        None,
    )
    plain = staffed("user", "show", "e@x.es")[1]
    assert "roles: auditor\n" in plain
    assert "last_login_at: -\n" in plain
    code, out, err = staffed("user", "password", "e@x.es", "--one-time")
    assert (code, len(out)) == (0, len("one-time password: \n") + 24)
    assert "only this once" in err
    code, out, _ = staffed("user", "delete", "e@x.es", "--yes")
    assert code == 0
    assert json.loads(out)["erased"]["users"] == 1
    assert staffed("user", "show", "e@x.es")[0] == 1


def test_list_is_filtered(staffed: Run) -> None:
    assert staffed(*CREATE_EVA, "--one-time")[0] == 0
    for options, expected in (
        ((), [ANA, EVA]),
        (("--department", "sales"), [EVA]),
        (("--role", "admin"), [ANA]),
        (("--query", "EVA@"), [EVA]),
        (("--inactive",), []),
        (("--active",), [ANA, EVA]),
    ):
        users = json.loads(staffed("user", "list", *options, "--json")[1])["users"]
        assert [each["email"] for each in users] == expected, options


def test_upgrade_adds_the_missing_shipped_roles(ready: Run, tmp_path: Path) -> None:
    path = tmp_path / "data" / "auth" / "roles.json"
    old = {"admin": {"permissions": ["administer"]}, "employee": {"permissions": ["chat"]}}
    path.write_text(json.dumps({"version": 1, "roles": old}), "utf-8")
    eva = {"id": "e", "email": EVA, "password_hash": "x", "roles": ["auditor"]}
    users = tmp_path / "data" / "auth" / "users.json"
    users.write_text(json.dumps({"version": 1, "users": [eva]}), "utf-8")

    assert "role" not in ready("init")[1]
    code, out, _ = ready("init", "--upgrade")

    assert code == 0
    assert out.splitlines()[-2:] == [
        "added the role department_admin",
        "added the role data_protection",
    ]
    stored = json.loads(path.read_text("utf-8"))["roles"]
    assert stored.keys() == DEFAULT_ROLES.keys() - {"auditor"}
    assert {name: stored[name] for name in old} == old
    assert "added" not in ready("init", "--upgrade")[1]
