"""Data protection reads and holds sessions over HTTP; their owners see it."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.domain.audit import AUDIT
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.ports.journal import JournalQuery
from service import Service, code_of, serving, settings_for_tests

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANA, BEN, OFFICER = "ana@example.com", "ben@example.com", "officer@example.com"
REASON = {"reason": "Complaint 2026-17"}
UNKNOWN = "0" * 32
Headers = dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncGenerator[Service]:
    settings = settings_for_tests(mem_structured_enable=False, mem_summarize_threshold=0)
    async with serving(settings, model=ScriptedModel(lambda _: "Of course.")) as found:
        for email in (ANA, BEN):
            await found.add_user(email)
        await found.add_user(OFFICER, "data_protection")
        yield found


async def talk(service: Service, headers: Headers | None) -> str:
    answer = await service.client.post("/chat", json={"prompt": "Secret"}, headers=headers)
    return str(answer.raise_for_status().json()["session_id"])


async def post(service: Service, path: str, email: str, body: object = REASON) -> httpx.Response:
    return await service.client.post(path, json=body, headers=await service.bearer(email))


async def events(service: Service) -> list[dict[str, Any]]:
    entries = await service.use.storage.transact(lambda tx: tx.journal.read(AUDIT, limit=9999))
    return [dict(entry.content) for entry in entries]


async def log_of(service: Service, email: str) -> list[dict[str, Any]]:
    answer = await service.client.get("/me/access-log", headers=await service.bearer(email))
    found: list[dict[str, Any]] = answer.raise_for_status().json()["accesses"]
    return found


async def test_conversation_is_read_with_a_reason_that_its_owner_sees(service: Service) -> None:
    session_id = await talk(service, await service.bearer(ANA))
    answer = await post(service, f"/admin/sessions/{session_id}/read", OFFICER)
    assert answer.status_code == 200
    assert [each["content"] for each in answer.json()["messages"]] == ["Secret", "Of course."]
    assert answer.json()["owner"]["kind"] == "user"
    [access, *_] = await log_of(service, ANA)
    officer = await service.use.storage.transact(lambda tx: tx.users.by_email(OFFICER))
    assert officer is not None
    assert access == {
        "at": access["at"],
        "action": "read",
        "by": f"user {officer.id}",
        "session_id": session_id,
        "reason": REASON["reason"],
    }
    assert await log_of(service, BEN) == []
    recorded = [each for each in await events(service) if each["object"]["id"] == session_id]
    assert {each["action"] for each in recorded} == {"session.read"}
    assert {each["reason"] for each in recorded} == {REASON["reason"]}
    assert {each["actor"]["user"] for each in recorded} == {officer.id}
    ana = await service.use.storage.transact(lambda tx: tx.users.by_email(ANA))
    assert ana is not None
    assert {each["object"]["owner"] for each in recorded} == {ana.id}
    about_ana = JournalQuery(labels=frozenset({("object", ana.id)}))
    page = await service.use.storage.transact(
        lambda tx: tx.journal.find(AUDIT, about_ana, limit=99)
    )
    assert "session.read" in {entry.content["action"] for entry in page.entries}


async def test_session_of_an_application_can_be_read_too(service: Service) -> None:
    session_id = await talk(service, None)
    answer = await post(service, f"/admin/sessions/{session_id}/read", OFFICER)
    assert answer.json()["owner"] == {"kind": "client", "id": "default"}


@pytest.mark.parametrize(
    "call", ["/admin/sessions/{}/read", "/sessions/{}/hold", "/sessions/{}/release"]
)
async def test_others_are_refused_whether_the_session_exists_or_not(
    service: Service, call: str
) -> None:
    session_id = await talk(service, await service.bearer(ANA))
    before = await events(service), await log_of(service, ANA)
    for email in (ANA, BEN):
        for number in (session_id, UNKNOWN, "no-id"):
            answer = await post(service, call.format(number), email)
            assert code_of(answer) == (403, "forbidden")
    for number in (UNKNOWN, "no-id"):
        assert code_of(await post(service, call.format(number), OFFICER)) == (404, "not_found")
    for reason in ("too short", "x" * 501, "two lines\nof a reason"):
        answer = await post(service, call.format(session_id), OFFICER, {"reason": reason})
        assert code_of(answer) == (422, "invalid_request")
    assert await log_of(service, ANA) == before[1]


async def test_held_session_cannot_be_reset_or_deleted_until_it_is_released(
    service: Service,
) -> None:
    owner = await service.bearer(ANA)
    session_id = await talk(service, owner)
    path = f"/sessions/{session_id}"
    held = await post(service, f"{path}/hold", OFFICER)
    assert held.json() == {
        "session_id": session_id,
        "on_hold": True,
        "reason": REASON["reason"],
        "since": held.json()["since"],
    }
    reset = await service.client.post(f"{path}/reset", headers=owner)
    deleted = await service.client.delete(path, headers=owner)
    assert code_of(reset) == code_of(deleted) == (409, "session_held")
    body = {"prompt": "It goes on", "session_id": session_id}
    assert (await service.client.post("/chat", json=body, headers=owner)).status_code == 200
    released = await post(service, f"{path}/release", OFFICER)
    assert released.json()["on_hold"] is False
    assert (await service.client.delete(path, headers=owner)).status_code == 200
    actions = [each["action"] for each in await log_of(service, ANA)][:2]
    assert actions == ["release", "hold"]


async def test_access_log_is_read_page_by_page(service: Service) -> None:
    session_id = await talk(service, await service.bearer(ANA))
    for _ in range(3):
        await post(service, f"/admin/sessions/{session_id}/read", OFFICER)
    headers, seen, after = await service.bearer(ANA), list[Any](), ""
    while True:
        params = {"limit": "2", "after": after}
        page = await service.client.get("/me/access-log", params=params, headers=headers)
        seen += page.json()["accesses"]
        after = page.json()["next"]
        if after is None:
            break
    assert seen == await log_of(service, ANA)
    assert [each["at"] for each in seen] == sorted((each["at"] for each in seen), reverse=True)


async def test_nothing_is_read_while_the_audit_cannot_be_written(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await talk(service, await service.bearer(ANA))
    before = await log_of(service, ANA)
    officer = await service.bearer(OFFICER)
    storage = service.use.storage
    assert isinstance(storage, InMemoryStorage)

    def refuse(*_: object, **__: object) -> None:
        raise StorageUnavailable("The disk is read-only.")

    monkeypatch.setattr(storage._transaction.journal, "extend", refuse)
    path = f"/admin/sessions/{session_id}/read"
    answer = await service.client.post(path, json=REASON, headers=officer)
    assert code_of(answer) == (503, "audit_unavailable")
    assert "Secret" not in answer.text
    monkeypatch.undo()
    assert await log_of(service, ANA) == before
