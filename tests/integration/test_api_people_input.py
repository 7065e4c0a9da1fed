"""Bad input to the calls about people and roles: refused, named by its field, and never repeated."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from service import PASSWORD, Service, code_of, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
NEW: Json = {"email": "n@x.es", "roles": ["employee"], "department": "HR", "password": PASSWORD}
ROLE: Json = {"permissions": ["chat"]}
BIDI = "a\u202eb"


class Admin:
    """An administrator, and a user to change."""

    def __init__(self, service: Service, bearer: dict[str, str], user_id: str) -> None:
        self.service, self.bearer, self.user_id = service, bearer, user_id

    async def call(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> httpx.Response:
        path = path.replace("{user_id}", self.user_id)
        return await self.service.client.request(
            method, path, json=body, headers=self.bearer | headers
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin() -> AsyncGenerator[Admin]:
    async with serving() as service:
        await service.add_admin()
        user = await service.add_user("eva@example.com")
        yield Admin(service, await service.bearer(), user.id)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", 7),
        ("email", None),
        ("email", "no address"),
        ("email", f"{BIDI}@x.es"),
        ("email", "a@x\u200b.es"),
        ("roles", "employee"),
        ("roles", None),
        ("roles", ["unknown"]),
        ("roles", [1]),
        ("roles", [f"r{n}" for n in range(33)]),
        ("department", BIDI),
        ("department", ""),
        ("department", "   "),
        ("department", 1),
        ("expires_at", 1893456000),
        ("expires_at", "2030-01-01"),
        ("expires_at", "2030-01-01T00:00:00"),
        ("expires_at", "0001-01-01T00:00:00+23:00"),
        ("expires_at", "2030-02-30T00:00:00Z"),
        ("password", "short"),
        ("password", 5),
        ("is_admin", True),
        ("id", "chosen"),
    ],
)
async def test_field_of_a_new_user_is_refused_by_its_name(
    admin: Admin, field: str, value: object
) -> None:
    answer = await admin.call("POST", "/admin/users", NEW | {field: value})
    assert code_of(answer) == (422, "invalid_request")
    where = answer.json()["errors"][0]["loc"]
    assert where[:2] == ["body", field] or field not in NEW | {"expires_at": ""}
    assert BIDI not in answer.text
    listed = (await admin.call("GET", "/admin/users")).json()["users"]
    assert len(listed) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"is_active": "false"},
        {"is_active": None},
        {"is_active": 0},
        {"roles": None},
        {"email": None},
        {"email": ""},
        {"department": None},
        {"department": ""},
        {"password": PASSWORD},
        {"source": "local"},
        {"expires_at": ""},
    ],
)
async def test_change_of_a_user_is_strict(admin: Admin, change: Json) -> None:
    before = (await admin.call("GET", "/admin/users/{user_id}")).content
    answer = await admin.call("PATCH", "/admin/users/{user_id}", change)
    assert code_of(answer) == (422, "invalid_request")
    assert (await admin.call("GET", "/admin/users/{user_id}")).content == before


async def test_empty_change_changes_nothing(admin: Admin) -> None:
    before = await admin.call("GET", "/admin/users/{user_id}")
    answer = await admin.call("PATCH", "/admin/users/{user_id}", {})
    assert (answer.json(), answer.headers["etag"]) == (before.json(), before.headers["etag"])


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=201", "limit=-1", "limit=1.5", "limit=x", "limit="),
        *("active=yes", "active=1", "active=", "after=%00", "after=x", "after=" + "a" * 201),
        *("after=YQ==", "after=gA", "query=" + "a" * 255, "role=" + "r" * 65),
    ],
)
async def test_query_of_the_list_is_strict(admin: Admin, query: str) -> None:
    answer = await admin.call("GET", f"/admin/users?{query}")
    assert code_of(answer) == (422, "invalid_request"), answer.text


@pytest.mark.parametrize(
    "user_id", ["0" * 32, "x", "%00", "%F0%9F%98%80" * 64, "a" * 5000, "..%2e"]
)
async def test_unknown_ids_have_one_answer(admin: Admin, user_id: str) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("POST", "/password", None),
        ("POST", "/logout", None),
    ):
        answer = await admin.call(method, f"/admin/users/{user_id}{path}", body)
        assert code_of(answer) == (404, "not_found"), (method, path)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("x", {}),
        ("x", {"permissions": None}),
        ("x", {"permissions": "chat"}),
        ("x", {"permissions": ["fly"]}),
        ("x", {"permissions": ["administer"]}),
        ("x", {"permissions": ["metrics"]}),
        ("x", {"permissions": ["act_for_users"]}),
        ("x", ROLE | {"description": BIDI}),
        ("x", ROLE | {"description": "x" * 201}),
        ("x", ROLE | {"own_department_only": "true"}),
        ("x", ROLE | {"name": "y"}),
        ("x", {"permissions": ["audit.read"], "own_department_only": True}),
        ("Admin", ROLE),
        ("%E2%80%AE", ROLE),
        ("a" * 65, ROLE),
    ],
)
async def test_role_is_strict(admin: Admin, name: str, body: Json) -> None:
    answer = await admin.call("PUT", f"/admin/roles/{name}", body)
    assert code_of(answer) == (422, "invalid_request"), answer.text
    assert len((await admin.call("GET", "/admin/roles")).json()["roles"]) == 5


@pytest.mark.parametrize(
    "body",
    [
        {"current_password": PASSWORD},
        {"current_password": PASSWORD, "new_password": None},
        {"current_password": PASSWORD, "new_password": "x" * 129},
        {"current_password": PASSWORD, "new_password": "Eva Example Sales"},
        {"current_password": PASSWORD, "new_password": PASSWORD},
    ],
)
async def test_new_password_is_checked(admin: Admin, body: Json) -> None:
    bearer = await admin.service.bearer("eva@example.com")
    answer = await admin.service.client.post("/me/password", json=body, headers=bearer)
    assert code_of(answer) == (422, "invalid_request")
    assert answer.json()["errors"][0]["loc"] == ["body", "new_password"]
    assert (await admin.service.client.get("/me", headers=bearer)).status_code == 200


async def test_guessing_the_current_password_is_throttled_like_a_log_in() -> None:
    async with serving() as service:
        await service.add_user("eva@example.com")
        bearer = await service.bearer("eva@example.com")
        codes = []
        for number in range(7):
            body = {"current_password": f"a wrong guess number {number}", "new_password": "x" * 20}
            answer = await service.client.post("/me/password", json=body, headers=bearer)
            codes.append(code_of(answer))
        assert codes[:5] == [(401, "invalid_credentials")] * 5
        assert codes[5:] == [(429, "rate_limited")] * 2
        login = {"email": "eva@example.com", "password": PASSWORD}
        answer = await service.client.post("/auth/login", json=login)
        assert code_of(answer) == (429, "rate_limited"), "a log-in is counted apart"


async def test_only_one_of_two_concurrent_changes_succeeds(admin: Admin) -> None:
    seen = (await admin.call("GET", "/admin/users/{user_id}")).headers["etag"]
    path = "/admin/users/{user_id}"
    changes = [
        admin.call("PATCH", path, {"department": f"d{n}"}, **{"If-Match": seen}) for n in range(8)
    ]
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*changes))
    assert statuses == [200] + [412] * 7


async def test_cursor_of_another_list_is_a_position_and_nothing_more(admin: Admin) -> None:
    await admin.service.add_user("boss@example.com", "employee", "department_admin")
    await admin.service.add_user("zoe@example.com", department="legal")
    first = (await admin.call("GET", "/admin/users?limit=1")).json()["next"]
    boss = await admin.service.bearer("boss@example.com")
    for cursor in (first, "em9v"):
        answer = await admin.service.client.get(
            f"/admin/users?after={cursor}&limit=200", headers=boss
        )
        emails = [each["email"] for each in answer.json()["users"]]
        assert set(emails) <= {"boss@example.com", "eva@example.com"}
        assert answer.json()["next"] is None
