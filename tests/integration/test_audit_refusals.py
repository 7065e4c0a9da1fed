"""What is refused over HTTP is recorded, in one place and before it is answered."""

from collections.abc import AsyncGenerator

import pytest

from chatbot.application.refusals import SINGLY_OF_ADDRESS
from chatbot.domain.audit import AUDIT
from chatbot.domain.errors import StorageFull
from chatbot.domain.ports.journal import Content
from service import API_KEY, Service, code_of, serving


@pytest.fixture
async def service() -> AsyncGenerator[Service]:
    async with serving() as service:
        yield service


async def refusals(service: Service) -> list[Content]:
    entries = await service.use.storage.transact(lambda tx: tx.journal.read(AUDIT, limit=999))
    return [each.content for each in entries if each.content["action"] == "access.refuse"]


async def test_missing_right_is_recorded_with_who_lacks_it(service: Service) -> None:
    await service.add_user("eva@example.com")
    eva = await service.bearer("eva@example.com")
    me = (await service.client.get("/me", headers=eva)).json()
    answer = await service.client.get("/admin/audit?actor=u1", headers=eva)
    [found] = await refusals(service)
    assert found["object"] == {"type": "route", "id": "GET /admin/audit"}
    assert found["actor"] == {"user": me["id"], "client": "default", "address": "127.0.0.1"}
    assert (found["outcome"], found["reason"]) == ("refused", "forbidden")
    assert found["request_id"] == answer.headers["x-request-id"]


async def test_wrong_and_missing_credentials_are_recorded(service: Service) -> None:
    wrong = {"X-API-Key": API_KEY[::-1]}
    bad_token = {"X-API-Key": API_KEY, "Authorization": "Bearer x"}
    for path, headers in (
        ("/admin/audit", {}),
        ("/admin/audit", wrong),
        ("/chat", wrong),
        ("/admin/audit", bad_token),
    ):
        assert (await service.anonymous.get(path, headers=headers)).status_code in {401, 405}
    found = [(each["object"], each["reason"]) for each in await refusals(service)]
    assert found == [
        ({"type": "route", "id": "GET /admin/audit"}, "unauthenticated"),
        ({"type": "route", "id": "GET /admin/audit"}, "invalid_api_key"),
        ({"type": "route", "id": "GET /chat"}, "invalid_api_key"),
        ({"type": "route", "id": "GET /admin/audit"}, "invalid_token"),
    ]


async def test_everyday_refusals_are_not_recorded(service: Service) -> None:
    bad_token = {"Authorization": "Bearer x"}
    assert code_of(await service.client.get("/me", headers=bad_token)) == (401, "invalid_token")
    assert (await service.anonymous.get("/sessions")).status_code == 401
    assert (await service.client.get("/sessions/unknown")).status_code == 404
    assert (await service.client.get("/administration")).status_code == 404
    assert await refusals(service) == []


async def test_secrets_and_queries_are_not_recorded(service: Service) -> None:
    canary = "canary-4711"
    await service.anonymous.get(f"/admin/audit?actor={canary}", headers={"X-API-Key": canary})
    [found] = await refusals(service)
    assert canary not in str(found)


async def test_flood_of_refused_calls_leaves_few_events(service: Service) -> None:
    for _ in range(60):
        await service.anonymous.get("/admin/audit")
    assert len(await refusals(service)) == SINGLY_OF_ADDRESS
    await service.use.refusals.flush()
    *_, last = await refusals(service)
    assert str(last["reason"]).startswith("50 more in the minute from ")


async def test_call_is_refused_also_while_that_cannot_be_recorded(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageFull

    journal = await service.use.storage.transact(lambda tx: tx.journal)
    monkeypatch.setattr(journal, "extend", full)
    assert code_of(await service.client.get("/admin/audit")) == (403, "forbidden")
