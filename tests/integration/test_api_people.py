"""People and roles over HTTP, on every store."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from service import PASSWORD, Service, code_of, serving, settings_for_tests

NEW_PASSWORD = "a quite different set of words"
Json = dict[str, Any]
EVA: Json = {"email": "Eva@Example.com", "roles": ["employee"], "department": "Sales"}


class Admin:
    """The administrator of a service, and calls as other people."""

    def __init__(self, service: Service, bearer: dict[str, str]) -> None:
        self.service, self.bearer = service, bearer

    async def call(
        self, method: str, path: str, body: Json | None = None, *, etag: str | None = None
    ) -> httpx.Response:
        headers = self.bearer if etag is None else self.bearer | {"If-Match": etag}
        return await self.service.client.request(method, path, json=body, headers=headers)

    async def create(self, **given: object) -> Json:
        answer = await self.call("POST", "/admin/users", EVA | given)
        assert answer.status_code == 201, answer.text
        found: Json = answer.json()
        return found

    async def as_user(
        self, password: str, method: str, path: str, body: Json | None = None
    ) -> httpx.Response:
        bearer = await self.service.bearer("eva@example.com", password)
        return await self.service.client.request(method, path, json=body, headers=bearer)


@pytest.fixture(params=["memory", "json", "sqlite", "postgres"])
async def admin(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Admin]:
    match request.param:
        case "json":
            async with JsonFileStorage(tmp_path / "data") as storage:
                await storage.make_initial_records()
            url = f"json:{tmp_path / 'data'}"
        case "sqlite":
            url = f"sqlite:///{request.getfixturevalue('sqlite_store')}"
        case "postgres":
            url = request.getfixturevalue("postgres_store")
        case _:
            url = "memory:"
    async with serving(settings_for_tests(storage_url=url)) as service:
        await service.add_admin()
        yield Admin(service, await service.bearer())


async def test_user_is_created_read_changed_and_listed(admin: Admin) -> None:
    made = await admin.create(expires_at="2099-12-31T23:59:59+01:00", password=PASSWORD)
    path = f"/admin/users/{made['id']}"
    assert {key: made[key] for key in made if key not in {"id", "created_at"}} == {
        "email": "eva@example.com",
        "roles": ["employee"],
        "department": "Sales",
        "is_active": True,
        "last_login_at": None,
        "expires_at": "2099-12-31T22:59:59.000000Z",
        "has_password": True,
        "source": "local",
    }
    assert (await admin.call("GET", path)).json() == made

    change: Json = {"department": "Support", "roles": ["auditor", "employee"], "expires_at": None}
    changed = await admin.call("PATCH", path, change)

    assert changed.status_code == 200
    assert changed.json() == made | change
    listed = (await admin.call("GET", "/admin/users")).json()
    assert [each["email"] for each in listed["users"]] == ["ana@example.com", "eva@example.com"]
    assert listed["users"][1] == made | change
    assert listed["next"] is None


async def test_one_time_password_permits_only_to_replace_it(admin: Admin) -> None:
    one_time = (await admin.create())["one_time_password"]
    assert len(one_time) == 24
    for method, path in (("GET", "/me"), ("GET", "/sessions"), ("POST", "/sessions/new")):
        answer = await admin.as_user(one_time, method, path)
        assert code_of(answer) == (403, "password_change_required")
    body = {"current_password": one_time, "new_password": NEW_PASSWORD}
    changed = await admin.as_user(one_time, "POST", "/me/password", body)
    assert changed.status_code == 200
    bearer = {"Authorization": f"Bearer {changed.json()['access_token']}"}
    assert (await admin.service.client.get("/me", headers=bearer)).status_code == 200
    again = {"email": EVA["email"], "password": one_time}
    answer = await admin.service.client.post("/auth/login", json=again)
    assert code_of(answer) == (401, "invalid_credentials")
    assert (await admin.as_user(NEW_PASSWORD, "GET", "/me")).status_code == 200


async def test_changing_the_password_ends_all_other_tokens(admin: Admin) -> None:
    await admin.create(password=PASSWORD)
    before = await admin.service.bearer("eva@example.com")
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    for wrong in (
        {"current_password": "x" * 20},
        {"new_password": "short"},
        {"new_password": PASSWORD},
    ):
        answer = await admin.as_user(PASSWORD, "POST", "/me/password", body | wrong)
        assert code_of(answer) in {(401, "invalid_credentials"), (422, "invalid_request")}
    assert (await admin.service.client.get("/me", headers=before)).status_code == 200
    assert (await admin.as_user(PASSWORD, "POST", "/me/password", body)).status_code == 200
    answer = await admin.service.client.get("/me", headers=before)
    assert code_of(answer) == (401, "invalid_token")


async def test_administrator_replaces_a_password_and_ends_the_tokens(admin: Admin) -> None:
    made = await admin.create(password=PASSWORD)
    before = await admin.service.bearer("eva@example.com")
    answer = await admin.call("POST", f"/admin/users/{made['id']}/logout")
    assert answer.json() == {"id": made["id"], "logged_out": True}
    assert code_of(await admin.service.client.get("/me", headers=before))[0] == 401
    before = await admin.service.bearer("eva@example.com")
    reset = await admin.call("POST", f"/admin/users/{made['id']}/password")
    assert code_of(await admin.service.client.get("/me", headers=before))[0] == 401
    answer = await admin.as_user(reset.json()["one_time_password"], "GET", "/me")
    assert code_of(answer) == (403, "password_change_required")


async def test_change_applies_to_what_the_caller_has_seen(admin: Admin) -> None:
    made = await admin.create()
    path, other = f"/admin/users/{made['id']}", await admin.create(email="luis@example.com")
    seen = (await admin.call("GET", path)).headers["etag"]
    foreign = (await admin.call("GET", f"/admin/users/{other['id']}")).headers["etag"]
    for etag in (foreign, f"W/{seen}", "x", '""', seen.strip('"')):
        answer = await admin.call("PATCH", path, {"department": "HR"}, etag=etag)
        assert code_of(answer) == (412, "changed_meanwhile"), etag
    changed = await admin.call("PATCH", path, {"department": "HR"}, etag=f"{foreign}, {seen}")
    assert changed.status_code == 200
    for method, call in (("PATCH", path), ("POST", f"{path}/password"), ("POST", f"{path}/logout")):
        body: Json = {"department": "IT"} if method == "PATCH" else {}
        assert code_of(await admin.call(method, call, body, etag=seen))[0] == 412
    for etag in (changed.headers["etag"], "*"):
        answer = await admin.call("PATCH", path, {"department": "IT"}, etag=etag)
        assert answer.status_code == 200
        assert answer.headers["etag"] not in {seen, changed.headers["etag"]}


async def test_role_is_created_changed_and_deleted_with_etags(admin: Admin) -> None:
    body: Json = {"permissions": ["users.read", "chat"], "description": "Leads."}
    path, full = "/admin/roles/team_lead", body | {"own_department_only": True}
    made = await admin.call("PUT", path, full)
    assert made.status_code == 200
    expected = {"name": "team_lead", **full, "permissions": ["chat", "users.read"]}
    assert made.json() == (await admin.call("GET", path)).json() == expected
    changed = await admin.call("PUT", path, made.json() | {"permissions": []})
    assert (changed.status_code, changed.json()["permissions"]) == (200, [])
    etag = made.headers["etag"]
    assert code_of(await admin.call("PUT", path, body, etag=etag)) == (412, "changed_meanwhile")
    assert code_of(await admin.call("DELETE", path, etag=etag)) == (412, "changed_meanwhile")
    user = await admin.create(roles=["team_lead"])
    in_use = await admin.call("DELETE", path, etag=changed.headers["etag"])
    assert code_of(in_use) == (409, "conflict")
    assert "1 user" in in_use.json()["detail"]
    assert (
        await admin.call("PATCH", f"/admin/users/{user['id']}", {"roles": []})
    ).status_code == 200
    deleted = await admin.call("DELETE", path)
    assert deleted.json() == {"deleted": True, "name": "team_lead"}
    assert code_of(await admin.call("GET", path)) == (404, "not_found")
    names = [each["name"] for each in (await admin.call("GET", "/admin/roles")).json()["roles"]]
    assert names == ["admin", "auditor", "data_protection", "department_admin", "employee"]


async def test_erased_user_is_gone_and_the_receipt_says_what_was_erased(admin: Admin) -> None:
    made = await admin.create(password=PASSWORD)
    before = await admin.service.bearer("eva@example.com")
    await admin.service.client.post("/sessions/new", headers=before)
    path = f"/admin/users/{made['id']}"
    seen = (await admin.call("GET", path)).headers["etag"]
    await admin.call("PATCH", path, {"department": "HR"})
    assert code_of(await admin.call("DELETE", path, etag=seen)) == (412, "changed_meanwhile")
    erased = await admin.call("DELETE", path)
    assert erased.status_code == 200
    counts = erased.json()["receipt"]["erased"]
    assert (counts["users"], counts["sessions"], counts["last_logins"]) == (1, 1, 1)
    assert code_of(await admin.call("GET", path)) == (404, "not_found")
    assert code_of(await admin.call("DELETE", path)) == (404, "not_found")
    assert code_of(await admin.service.client.get("/me", headers=before))[0] == 401


async def test_last_log_in_is_shown_and_does_not_change_the_etag(admin: Admin) -> None:
    made = await admin.create(password=PASSWORD)
    path = f"/admin/users/{made['id']}"
    before = await admin.call("GET", path)
    assert before.json()["last_login_at"] is None
    await admin.service.bearer("eva@example.com")
    after = await admin.call("GET", path)
    assert after.json()["last_login_at"] > made["created_at"]
    assert after.headers["etag"] == before.headers["etag"]
    [listed] = (await admin.call("GET", "/admin/users?query=eva")).json()["users"]
    assert listed == after.json()


async def test_last_administrator_is_neither_disabled_demoted_nor_expired(admin: Admin) -> None:
    [root] = (await admin.call("GET", "/admin/users?role=admin")).json()["users"]
    path = f"/admin/users/{root['id']}"
    for change in (
        {"is_active": False},
        {"roles": ["employee"]},
        {"expires_at": "2099-01-01T00:00:00Z"},
    ):
        answer = await admin.call("PATCH", path, change)
        assert code_of(answer) == (409, "last_administrator")
    for method, call in (("POST", f"{path}/password"), ("DELETE", path)):
        assert code_of(await admin.call(method, call)) == (409, "last_administrator")
    answer = await admin.call("PUT", "/admin/roles/admin", {"permissions": ["users.manage"]})
    assert code_of(answer) == (409, "last_administrator")


async def test_expired_person_counts_as_disabled(admin: Admin) -> None:
    made = await admin.create(password=PASSWORD)
    before = await admin.service.bearer("eva@example.com")
    path = f"/admin/users/{made['id']}"
    await admin.call("PATCH", path, {"expires_at": "2020-01-01T00:00:00Z"})
    answer = await admin.service.client.get("/me", headers=before)
    assert code_of(answer) == (401, "invalid_token")
    again = {"email": EVA["email"], "password": PASSWORD}
    answer = await admin.service.client.post("/auth/login", json=again)
    assert code_of(answer) == (401, "invalid_credentials")
    inactive = (await admin.call("GET", "/admin/users?active=false")).json()["users"]
    assert [each["id"] for each in inactive] == [made["id"]]
    await admin.call("PATCH", path, {"expires_at": None})
    answer = await admin.service.client.get("/me", headers=before)
    assert code_of(answer) == (401, "invalid_token"), "an old token is revived"
    assert (await admin.as_user(PASSWORD, "GET", "/me")).status_code == 200


async def test_list_is_paged_and_filtered(admin: Admin) -> None:
    for name, department, role in (
        ("d", "Sales", "employee"),
        ("b", "HR", "auditor"),
        ("c", "sales", "employee"),
        ("e", "HR", "employee"),
    ):
        await admin.create(email=f"{name}@x.es", department=department, roles=[role])

    async def listed(query: str) -> list[str]:
        found, after = [], ""
        while after is not None:
            page = (await admin.call("GET", f"/admin/users?limit=2{query}{after}")).json()
            found += [each["email"].partition("@")[0] for each in page["users"]]
            assert len(page["users"]) <= 2
            after = page["next"] and f"&after={page['next']}"
        return found

    assert await listed("") == ["ana", "b", "c", "d", "e"]
    assert await listed("&department=SALES") == ["c", "d"]
    assert await listed("&role=employee") == ["c", "d", "e"]
    assert await listed("&role=Employee") == []
    assert await listed("&query=@X.ES&department=hr&role=employee") == ["e"]
    assert await listed("&active=true&query=.com") == ["ana"]
    assert await listed("&active=false") == []
    assert (
        await listed("&query=%25") == await listed("&query=_") == await listed("&query=%00") == []
    )
