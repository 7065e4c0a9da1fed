"""docs/access.md is true: every call is made as every caller, over a real service."""

import re
from collections.abc import AsyncGenerator
from itertools import cycle

import pytest
import pytest_asyncio

from access_company import CANARY, Company, as_cell, open_company
from access_table import CALLERS, CALLS, OTHERS, Row, rows_of
from chatbot.entrypoints.http.native import PUBLIC_PATHS
from service import said_by

pytestmark = pytest.mark.asyncio(loop_scope="module")

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW")
ENDS_SIGN_INS = {"POST /auth/logout", "POST /auth/logout-all", "POST /me/password"}
OVERSIGHT = {
    *("POST /admin/sessions/{session_id}/read", "POST /sessions/{session_id}/hold"),
    "POST /sessions/{session_id}/release",
}
STRANGERS = ("colleague", "admin", "department admin", "other department", "auditor")
"""People who neither own a session nor may look into those of others."""
_PLACEHOLDER = re.compile(r"\{\w+\}")
SESSION_CALLS = [row for row in CALLS if row.is_about_a_session]
PERSON_CALLS = [row for row in CALLS if row.is_about_a_person]
DOCUMENT_CALLS = [row for row in CALLS if row.is_about_a_document]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def company(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Company]:
    async with open_company(tmp_path_factory.mktemp("data")) as found:
        yield found


def names(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row.cell.replace("`", "") for row in rows])


def may_see_the_session(caller: str, row: Row) -> bool:
    is_looking = caller == "data protection" and row.route in OVERSIGHT
    return is_looking or caller in {"owner", "end user"}


@names(CALLS)
async def test_each_caller_gets_what_the_table_says(company: Company, row: Row) -> None:
    refused = [caller for caller in CALLERS if row.answers[caller] > "4"]
    if refused:
        session_id = await company.prepare(row)
        before = company.files()
        for caller in refused:
            for headers in company.callers[caller]:
                answer = await company.call(row, headers, session_id)
                assert as_cell(answer) == row.answers[caller], caller
                assert CANARY not in answer.text
        assert company.files() == before, "a refused call has changed something"
    try:
        for caller in [c for c in CALLERS if c not in refused]:
            for headers in company.callers[caller]:
                session_id = await company.prepare(row)  # an earlier call may have deleted it
                answer = await company.call(row, headers, session_id)
                assert as_cell(answer) == row.answers[caller], caller
                if session_id and not may_see_the_session(caller, row):
                    assert session_id not in answer.text, caller
    finally:
        if row.route in ENDS_SIGN_INS:
            await company.sign_in_again()


@names(SESSION_CALLS)
async def test_session_of_an_application_is_hidden_from_users(company: Company, row: Row) -> None:
    session_id = await company.begin("key")
    before = company.files()
    for caller in ("owner", *STRANGERS):
        wanted = row.answers["colleague" if caller == "owner" else caller]
        for headers in company.callers[caller]:
            answer = await company.call(row, headers, session_id)
            assert as_cell(answer) == wanted, caller
    assert company.files() == before, "a refused call has changed something"
    answer = await company.call(row, company.callers["key"][0], session_id)
    assert as_cell(answer) == row.answers["owner"]


@names(SESSION_CALLS)
async def test_foreign_session_gets_the_same_response_as_an_unknown_one(
    company: Company, row: Row
) -> None:
    foreign, unknown = await company.begin("owner"), ["0" * 32, "no-id"]
    for caller in ("key", *STRANGERS):
        # `no-id` is the id of nobody's session: 404 also for those who may not chat at all
        ids = [foreign, *(unknown[:1] if caller == "auditor" else unknown)]
        for headers in company.callers[caller]:
            found = [await company.call(row, headers, session_id) for session_id in ids]
            assert len({said_by(answer) for answer in found}) == 1, caller


@names(PERSON_CALLS)
async def test_person_of_another_department_gets_the_same_response_as_an_unknown_one(
    company: Company, row: Row
) -> None:
    await company.prepare(row)
    [headers] = company.callers["other department"]
    found = [
        await company.call(row, headers, user_id=user_id)
        for user_id in (company.user_id, "0" * 32, "no-id")
    ]
    assert len({said_by(answer) for answer in found}) == 1


@names(DOCUMENT_CALLS)
async def test_document_of_another_gets_the_same_response_as_an_unknown_one(
    company: Company, row: Row
) -> None:
    await company.prepare(row)
    before = company.files()
    for caller in ("key", "colleague", "other department"):
        for headers in company.callers[caller]:
            found = [
                await company.call(row, headers, document_id=document_id)
                for document_id in (company.document_id, "0" * 32, "no-id")
            ]
            assert len({said_by(answer) for answer in found}) == 1, caller
    assert company.files() == before, "a refused call has changed something"


@pytest.mark.parametrize("path", ["/admin/users?limit=200", "/admin/usage?by=user"])
async def test_list_of_a_department_contains_only_its_people(company: Company, path: str) -> None:
    service, seen = company.service, {}
    for caller in ("admin", "department admin", "other department"):
        [headers] = company.callers[caller]
        answer = await service.anonymous.get(path, headers=headers)
        [found] = [rows for rows in answer.raise_for_status().json().values() if type(rows) is list]
        seen[caller] = {each.get("id") or each["key"] for each in found}
    assert seen["department admin"] | seen["other department"] < seen["admin"]
    assert seen["department admin"]
    assert seen["department admin"].isdisjoint(seen["other department"])


@pytest.mark.parametrize("caller", CALLERS)
async def test_unknown_paths_and_methods_respond_as_the_table_says(
    company: Company, caller: str
) -> None:
    public, other = (OTHERS[f"any other method, {kind} path"] for kind in ("public", "other"))
    tries = [
        (method, path, public if path in PUBLIC_PATHS else other)
        for path in sorted({row.path for row in CALLS})
        for method in METHODS
        if not any(_fits(f"{method} {path}", row.route) for row in CALLS)
    ]
    tries += [
        (method, path, OTHERS["any other path"])
        for path in ("/x", "/admin", "/docs/", "/sessions/x/y", "/health/x")
        for method in METHODS
    ]
    for (method, path, row), headers in zip(tries, cycle(company.callers[caller]), strict=False):
        answer = await company.service.anonymous.request(
            method, _PLACEHOLDER.sub("0" * 32, path), headers=company.portal.signed(headers)
        )
        wanted = row.answers[caller]
        wanted = wanted.split(" ")[0] if method == "HEAD" else wanted
        assert as_cell(answer) == wanted, f"{method} {path}"


def _fits(call: str, route: str) -> bool:
    """Whether the route matches the call; `/sessions/new` also matches `/sessions/{session_id}`."""
    return re.fullmatch(_PLACEHOLDER.sub("[^/]+", route), call) is not None


@pytest.mark.parametrize(
    "table",
    [
        "| call | no key | key |\n|---|---|---|\n| `GET /x` | 401 | 200 |",
        "| call | no key, key | key | everyone else |\n|---|---|---|---|\n| `GET /x` | 1 | 2 | 3 |",
        "| call | everyone |\n|---|---|\n| `GET /x` | 200 | 200 |",
    ],
)
async def test_table_that_leaves_a_caller_out_is_an_error(table: str) -> None:
    with pytest.raises(ValueError, match=r"access\.md"):
        rows_of(table)
