"""What the command line refuses is what HTTP refuses to an administrator, in the same words."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.permissions import Permission, Role
from commands import Run
from service import ADMIN_EMAIL, HOST, Service, serving, settings_for_tests
from staff import InstantHasher

EVA = "eva@example.com"
LAST, INVALID, CONFLICT = "409 last_administrator", "422 invalid_request", "409 conflict"
UNKNOWN = "404 not_found"
NEW: dict[str, object] = {"email": "new@example.com", "roles": ["employee"], "department": "Sales"}
KEY: dict[str, object] = {"client": "other", "scopes": ["chat"]}
SPELLED = "department in another spelling"
Ids = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A command, the call that does the same, and what it must get; `{name}` is an id."""

    command: str
    call: str
    body: dict[str, object] | None = None
    text: str = ""
    gets: str


REFUSALS = {
    "last administrator, disabled": Refusal(
        command=f"user disable {ADMIN_EMAIL}",
        call="PATCH /admin/users/{ana}",
        body={"is_active": False},
        gets=LAST,
    ),
    "last administrator, demoted": Refusal(
        command=f"user set {ADMIN_EMAIL} --role employee",
        call="PATCH /admin/users/{ana}",
        body={"roles": ["employee"]},
        gets=LAST,
    ),
    "last administrator, until a day": Refusal(
        command=f"user set {ADMIN_EMAIL} --expires-at 2099-01-01T00:00:00Z",
        call="PATCH /admin/users/{ana}",
        body={"expires_at": "2099-01-01T00:00:00Z"},
        gets=LAST,
    ),
    "last administrator, erased": Refusal(
        command=f"user delete {ADMIN_EMAIL} --yes", call="DELETE /admin/users/{ana}", gets=LAST
    ),
    "last administrator, by the role": Refusal(
        command="role set admin --permission users.manage",
        call="PUT /admin/roles/admin",
        body={"permissions": ["users.manage"]},
        gets=LAST,
    ),
    "unknown role, new person": Refusal(
        command="user create --email new@example.com --department Sales --one-time --role boss",
        call="POST /admin/users",
        body=NEW | {"roles": ["boss"]},
        gets=INVALID,
    ),
    "unknown role": Refusal(
        command=f"user set {EVA} --role boss",
        call="PATCH /admin/users/{eva}",
        body={"roles": ["boss"]},
        gets=INVALID,
    ),
    "address that is taken": Refusal(
        command=f"user create --email {EVA} --department Sales --one-time --role employee",
        call="POST /admin/users",
        body=NEW | {"email": EVA},
        gets=CONFLICT,
    ),
    "address without a host": Refusal(
        command=f"user set {EVA} --new-email eva",
        call="PATCH /admin/users/{eva}",
        body={"email": "eva"},
        gets=INVALID,
    ),
    "department that writes backwards": Refusal(
        command=f"user set {EVA} --department a\u202eb",
        call="PATCH /admin/users/{eva}",
        body={"department": "a\u202eb"},
        gets=INVALID,
    ),
    "short password": Refusal(
        command="user create --email new@example.com --department Sales --role employee "
        "--password-stdin",
        text="short\n",
        call="POST /admin/users",
        body=NEW | {"password": "short"},
        gets=INVALID,
    ),
    "role in use": Refusal(
        command="role delete lead", call="DELETE /admin/roles/lead", gets=CONFLICT
    ),
    "role that does not exist": Refusal(
        command="role delete boss", call="DELETE /admin/roles/boss", gets=UNKNOWN
    ),
    "name of a role": Refusal(
        command="role set Boss --permission chat",
        call="PUT /admin/roles/Boss",
        body={"permissions": ["chat"]},
        gets=INVALID,
    ),
    "right that no department limits": Refusal(
        command="role set boss --permission audit.read --own-department-only",
        call="PUT /admin/roles/boss",
        body={"permissions": ["audit.read"], "own_department_only": True},
        gets=INVALID,
    ),
    "third key": Refusal(
        command="key create --client partner --scope chat",
        call="POST /admin/keys",
        body=KEY | {"client": "partner"},
        gets=CONFLICT,
    ),
    "reserved client": Refusal(
        command="key create --client default --scope chat",
        call="POST /admin/keys",
        body=KEY | {"client": "default"},
        gets=INVALID,
    ),
    "name of a client": Refusal(
        command="key create --client Other --scope chat",
        call="POST /admin/keys",
        body=KEY | {"client": "Other"},
        gets=INVALID,
    ),
    "secret without its scope": Refusal(
        command="key create --client other --scope chat --user-secret-stdin",
        text=f"{'s' * 40}\n",
        call="POST /admin/keys",
        body=KEY | {"user_secret": "s" * 40},
        gets=INVALID,
    ),
    "key that does not exist": Refusal(
        command="key revoke aaaaaaaa", call="DELETE /admin/keys/aaaaaaaa", gets=UNKNOWN
    ),
    "key that was revoked": Refusal(
        command="key rotate {revoked}", call="POST /admin/keys/{revoked}/rotate", gets=CONFLICT
    ),
    "limit of nobody": Refusal(
        command="limit set x --kind requests --per day --limit 1 --subject user --name no@x.es",
        call="PUT /admin/limits/x",
        body={"subject": "user", "name": "no@x.es", "kind": "requests", "per": "day", "limit": 1},
        gets=INVALID,
    ),
    "limit that cannot be meant": Refusal(
        command="limit set x --kind streams --per day --limit 1",
        call="PUT /admin/limits/x",
        body={"subject": "everyone", "name": "", "kind": "streams", "per": "day", "limit": 1},
        gets=INVALID,
    ),
    "limit that does not exist": Refusal(
        command="limit delete x", call="DELETE /admin/limits/x", gets=UNKNOWN
    ),
    "days in the wrong order": Refusal(
        command="usage --from 2030-02-02 --to 2030-02-01",
        call="GET /admin/usage?from=2030-02-02&to=2030-02-01",
        gets=INVALID,
    ),
}
"""By situation. What has words of its own is absent: an unknown person, whom commands name by e-mail
address, and a word that is no option."""


@dataclass(frozen=True, kw_only=True)
class Doors:
    """A store, the ids in it, and what HTTP has answered."""

    folder: Path
    ids: dict[str, str] = field(default_factory=dict)
    answers: dict[str, httpx.Response] = field(default_factory=dict)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Doors:
    """The calls are made once, for starting a service takes longer than all of them."""
    found = Doors(folder=tmp_path_factory.mktemp("data"))
    asyncio.run(_ask(found))
    return found


async def _ask(doors: Doors) -> None:
    async with JsonFileStorage(doors.folder) as storage:
        await storage.make_initial_records()
    settings = settings_for_tests(storage_url=f"json:{doors.folder}")
    async with serving(settings, model=ScriptedModel([]), hasher=InstantHasher()) as service:
        doors.ids.update(await _furnish(service))
        bearer = await service.bearer()
        for name, each in REFUSALS.items():
            method, path = each.call.format_map(doors.ids).split(" ")
            doors.answers[name] = await service.client.request(
                method, path, json=each.body, headers=bearer
            )
        body = NEW | {"department": " SALES "}
        doors.answers[SPELLED] = await service.client.post(
            "/admin/users", json=body, headers=bearer
        )


async def _furnish(service: Service) -> Ids:
    await service.add_admin()
    await service.use.roles.put(HOST, Role(name="lead", permissions=frozenset({Permission.CHAT})))
    eva = await service.add_user(EVA, "employee", "lead", department="Sales")
    ana = await service.use.people.find(HOST, ADMIN_EMAIL)
    revoked, *_ = [
        await service.add_key(),
        *[await service.add_key(client="partner") for _ in "ab"],
    ]
    await service.use.api_keys.revoke(HOST, revoked.line.id)
    return {"ana": ana.user.id, "eva": eva.id, "revoked": revoked.line.id}


@pytest.fixture
def command(ready: Run, doors: Doors, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the same store."""
    monkeypatch.setenv("STORAGE_URL", f"json:{doors.folder}")
    return ready


@pytest.mark.parametrize("name", REFUSALS)
def test_command_is_refused_as_the_call_is(command: Run, doors: Doors, name: str) -> None:
    each, answer = REFUSALS[name], doors.answers[name]
    problem: dict[str, Any] = answer.json()
    assert f"{answer.status_code} {problem.get('code')}" == each.gets
    [reason] = [one["msg"] for one in problem.get("errors", [])] or [problem["detail"]]
    arguments = each.command.format_map(doors.ids).split(" ")
    assert command(*arguments, text=each.text) == (1, "", f"chatbot: {reason}\n")


def test_department_gets_the_spelling_of_its_people_through_both_doors(
    command: Run, doors: Doors
) -> None:
    assert doors.answers[SPELLED].json()["department"] == "Sales"
    create = ("user", "create", "--role", "employee", "--one-time")
    made = command(*create, "--email", "newer@example.com", "--department", " sALES ")
    assert made[0] == 0
    _, out, _ = command("user", "show", "newer@example.com", "--json")
    assert json.loads(out)["department"] == "Sales"
