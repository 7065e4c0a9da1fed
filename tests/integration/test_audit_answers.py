"""The questions of an auditor that docs/operations.md answers."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from commands import Run
from programs import program

PASSWORD = "mi perro ladra a las motos"  # of a test
GUIDE = Path(__file__).parents[2] / "docs" / "operations.md"
GIVEN = re.compile(r"chatbot audit export \| jq -c '(select\(.*given.*)'\n")


@pytest.fixture
def staffed(ready: Run) -> Run:
    admin = ("admin", "create", "--email", "ana@example.com", "--password-stdin")
    assert ready(*admin, text=PASSWORD)[0] == 0
    for name in ("eva", "ben"):
        email, role = f"{name}@example.com", ("--role", "employee", "--department", "sales")
        assert ready("user", "create", "--email", email, *role, "--one-time")[0] == 0
    return ready


def shown(run: Run, who: str) -> dict[str, object]:
    code, out, err = run("user", "show", who, "--json")
    assert (code, err) == (0, "")
    found: dict[str, object] = json.loads(out)
    return found


def test_who_was_given_administrator_rights_is_found_with_the_command_of_the_guide(
    staffed: Run,
) -> None:
    assert staffed("user", "set", "eva@example.com", "--role", "admin")[0] == 0
    assert staffed("user", "set", "eva@example.com", "--role", "employee")[0] == 0
    assert staffed("role", "set", "lead", "--permission", "users.manage")[0] == 0
    assert staffed("role", "set", "department_admins", "--permission", "chat")[0] == 0
    key = ("key", "create", "--client", "portal", "--scope", "users.manage")
    assert staffed(*key)[0] == 0
    [condition] = GIVEN.findall(GUIDE.read_text(encoding="utf-8"))
    exported = staffed("audit", "export")[1]
    found = subprocess.run(
        [program("jq"), "-c", condition], input=exported, capture_output=True, text=True, check=True
    )
    events = [json.loads(line) for line in found.stdout.splitlines()]
    done = [each for each in events if each.get("stage") != "intent"]
    eva = shown(staffed, "eva@example.com")
    assert [each["action"] for each in done] == [
        "user.create",
        "user.change",
        "role.set",
        "key.create",
    ]
    assert done[1]["object"]["id"] == eva["id"]
    assert done[1]["reason"] == "changed: roles; given: admin; taken: employee"


def test_id_of_an_event_leads_to_the_person(staffed: Run) -> None:
    eva = shown(staffed, "eva@example.com")
    assert shown(staffed, str(eva["id"])) == eva
    code, out, err = staffed("user", "show", "0" * 32)
    assert (code, out) == (1, "")
    assert err.startswith("chatbot: ")
