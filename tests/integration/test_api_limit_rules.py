"""Limits that administrators set, over HTTP: what is stored, what is refused, what applies."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.domain.authorization import of_host
from chatbot.domain.chat import FinishReason
from chatbot.domain.identity import User
from chatbot.domain.ports.model import Completion, Usage
from chatbot.domain.transaction import Transaction
from service import SSE, Service, code_of, serving, settings_for_tests

TOKENS = {"subject": "everyone", "kind": "tokens", "per": "month", "limit": 100_000}
EVA = "eva@example.com"


@pytest_asyncio.fixture
async def service() -> AsyncGenerator[Service]:
    answer = Completion(
        text="ok",
        finish_reason=FinishReason.STOP,
        usage=Usage(input_tokens=100, output_tokens=20),
    )
    settings = settings_for_tests(mem_structured_enable=False, mem_summarize_threshold=0)
    async with serving(settings, model=ScriptedModel(lambda _: answer)) as service:
        await service.add_admin()
        await service.add_user(EVA)
        yield service


async def put(service: Service, limit_id: str = "monthly", /, **given: Any) -> httpx.Response:
    body = {**TOKENS, **given}
    admin = await service.bearer()
    return await service.client.put(f"/admin/limits/{limit_id}", json=body, headers=admin)


async def test_limit_is_created_read_listed_changed_and_deleted(service: Service) -> None:
    admin, path = await service.bearer(), "/admin/limits/monthly"
    made = await put(service)
    stored = {"id": "monthly", "name": "", "model": None, **TOKENS}
    assert (made.status_code, made.json()) == (200, stored)
    read = await service.client.get(path, headers=admin)
    assert (read.json(), read.headers["etag"]) == (stored, made.headers["etag"])
    listed = await service.client.get("/admin/limits", headers=admin)
    assert listed.json() == {"limits": [stored]}
    changed = await service.client.put(
        path, json={**stored, "limit": 7}, headers=admin | {"If-Match": made.headers["etag"]}
    )
    assert changed.json()["limit"] == 7
    late = await service.client.put(
        path, json=stored, headers=admin | {"If-Match": made.headers["etag"]}
    )
    assert code_of(late) == (412, "changed_meanwhile")
    late = await service.client.delete(path, headers=admin | {"If-Match": made.headers["etag"]})
    assert code_of(late) == (412, "changed_meanwhile")
    gone = await service.client.delete(path, headers=admin)
    assert gone.json() == {"deleted": True, "id": "monthly"}
    for answer in (
        await service.client.get(path, headers=admin),
        await service.client.delete(path, headers=admin),
    ):
        assert code_of(answer) == (404, "not_found")


async def test_changes_are_recorded_in_the_audit(service: Service) -> None:
    admin = await service.bearer()
    await put(service)
    await service.client.delete("/admin/limits/monthly", headers=admin)
    found = (await service.client.get("/admin/audit?limit=200", headers=admin)).json()["events"]
    assert {"limit.set", "limit.delete"} <= {each["action"] for each in found}
    [reason, *_] = [each["reason"] for each in found if each["action"] == "limit.set"]
    assert "tokens per month for everyone" in reason


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"subject": "nobody"}, "subject"),
        ({"kind": "money"}, "kind"),
        ({"per": "week"}, "per"),
        ({"per": None}, "per"),
        ({"limit": -1}, "limit"),
        ({"limit": 10**16}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"name": "sales"}, "name"),
        ({"subject": "department", "name": ""}, "name"),
        ({"subject": "role", "name": "unknown"}, "name"),
        ({"subject": "user", "name": "unknown@example.com"}, "name"),
        ({"subject": "department", "name": "x\u202ey"}, "name"),
        ({"kind": "streams"}, "per"),
        ({"kind": "retention"}, "per"),
        ({"kind": "requests", "limit": 0}, "limit"),
        ({"kind": "streams", "per": None, "limit": 0}, "limit"),
        ({"kind": "requests", "model": "openai/m"}, "model"),
        ({"kind": "retention", "per": None, "subject": "client", "name": "x"}, "subject"),
        ({"id": "other"}, "id"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_contradictory_limit_is_rejected(
    service: Service, wrong: dict[str, object], where: str
) -> None:
    answer = await put(service, **wrong)
    assert code_of(answer) == (422, "invalid_request")
    located = [str(each["loc"]) for each in answer.json()["errors"]]
    assert any(where in each for each in located) or where == "colour"
    listed = await service.client.get("/admin/limits", headers=await service.bearer())
    assert listed.json() == {"limits": []}


@pytest.mark.parametrize("name", ["A", "-a", "a b", "a%7Cb", "x" * 65, "é"])
async def test_id_of_another_form_is_refused(service: Service, name: str) -> None:
    assert code_of(await put(service, name)) == (422, "invalid_request")


async def test_second_limit_for_the_same_use_is_refused(service: Service) -> None:
    await put(service)
    answer = await put(service, "again", limit=5)
    assert code_of(answer) == (409, "conflict")
    assert "monthly" in answer.json()["detail"]
    assert (await put(service, "daily", per="day")).status_code == 200


async def test_person_may_be_named_by_email_and_is_stored_by_id(service: Service) -> None:
    answer = await put(service, subject="user", name=EVA.upper())
    people = (await service.client.get("/admin/users", headers=await service.bearer())).json()
    [eva] = [each["id"] for each in people["users"] if each["email"] == EVA]
    assert answer.json()["name"] == eva


async def test_without_the_permission_limits_are_neither_shown_nor_changed(
    service: Service,
) -> None:
    eva = await service.bearer(EVA)
    for method, path in (("GET", ""), ("GET", "/x"), ("PUT", "/x"), ("DELETE", "/x")):
        body = TOKENS if method == "PUT" else None
        answer = await service.client.request(
            method, f"/admin/limits{path}", json=body, headers=eva
        )
        assert code_of(answer) == (403, "forbidden")


# --- what applies ----------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_exhausted_budget_is_a_plain_429_until_the_window_ends(
    service: Service, headers: dict[str, str]
) -> None:
    await put(service, "eva-daily", subject="user", name=EVA, per="day", limit=0)
    eva = await service.bearer(EVA)
    answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=eva | headers)
    assert code_of(answer) == (429, "budget_exhausted")
    assert answer.headers["x-should-retry"] == "false"
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    wait = int(answer.headers["retry-after"])
    assert wait == pytest.approx((midnight - now).total_seconds(), abs=5)
    assert answer.headers["ratelimit-policy"] == '"eva-daily";q=0;qu="tokens";w=86400'
    assert answer.headers["ratelimit"] == f'"eva-daily";r=0;t={wait}'
    assert "session_id" not in answer.json()
    assert (await service.client.get("/sessions", headers=eva)).json()["sessions"] == []


async def test_limit_applies_at_once_and_ends_when_it_is_deleted(service: Service) -> None:
    admin = await service.bearer()
    assert (await service.client.post("/chat", json={"prompt": "Hi"})).status_code == 200
    await put(service, limit=0)
    assert (await service.client.post("/chat", json={"prompt": "Hi"})).status_code == 429
    await service.client.delete("/admin/limits/monthly", headers=admin)
    assert (await service.client.post("/chat", json={"prompt": "Hi"})).status_code == 200


async def test_limits_of_department_role_client_and_everyone_hold_together(
    service: Service,
) -> None:
    for number, (subject, name) in enumerate(
        [("department", "sales"), ("role", "employee"), ("client", "default"), ("everyone", "")]
    ):
        await put(service, f"limit-{number}", subject=subject, name=name, limit=0)
    eva = await service.bearer(EVA)
    answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=eva)
    assert answer.headers["ratelimit-policy"].count('qu="tokens"') == 4
    answer = await service.client.post("/chat", json={"prompt": "Hi"})
    assert answer.headers["ratelimit-policy"].count('qu="tokens"') == 2


async def test_spelling_a_department_differently_does_not_evade_its_limit(service: Service) -> None:
    """Those who are alone in their department may choose its spelling."""
    await put(service, "sales", subject="department", name="SALES", limit=0)
    same = await put(service, "other", subject="department", name="Sales", limit=5)
    assert code_of(same) == (409, "conflict")
    admin, eva = await service.bearer(), await service.bearer(EVA)
    [user] = (await service.client.get(f"/admin/users?query={EVA}", headers=admin)).json()["users"]
    for spelling in ("sales", "Sales", "ＳＡＬＥＳ"):  # noqa: RUF001 # full-width letters
        changed = {"department": spelling}
        await service.client.patch(f"/admin/users/{user['id']}", json=changed, headers=admin)
        answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=eva)
        assert code_of(answer) == (429, "budget_exhausted")


async def test_requests_are_limited_and_others_are_not(service: Service) -> None:
    await put(service, "few", subject="user", name=EVA, kind="requests", per="month", limit=2)
    eva = await service.bearer(EVA)
    codes = [(await service.client.get("/sessions", headers=eva)).status_code for _ in range(4)]
    assert codes == [200, 200, 429, 429]
    assert (await service.client.get("/sessions")).status_code == 200
    answer = await service.client.get("/sessions", headers=eva)
    assert code_of(answer) == (429, "rate_limited")
    assert answer.headers["ratelimit-policy"].startswith('"few";q=2;w=')
    assert answer.headers["x-should-retry"] == "false"
    assert int(answer.headers["retry-after"]) > 60


def eva_of(tx: Transaction) -> User:
    user = tx.users.by_email(EVA)
    assert user is not None
    return user


async def test_limit_of_an_erased_person_is_removed_with_them(service: Service) -> None:
    await put(service, "eva", subject="user", name=EVA)
    await put(service, "all")
    admin = await service.bearer()
    await service.use.erasures.erase(of_host("root"), eva_of)
    listed = (await service.client.get("/admin/limits", headers=admin)).json()["limits"]
    assert [each["id"] for each in listed] == ["all"]
