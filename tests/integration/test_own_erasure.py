"""DELETE /me over HTTP, and `chatbot retention run`."""

from collections.abc import AsyncGenerator
from datetime import datetime

import pytest
import pytest_asyncio

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.domain.erasure import Receipt, is_authentic
from chatbot.entrypoints.settings.loading import load_settings
from commands import Run
from service import PASSWORD, Service, code_of, serving, settings_for_tests

EVA, OFFICER = "eva@example.com", "officer@example.com"
http = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncGenerator[Service]:
    settings = settings_for_tests(mem_structured_enable=False, mem_summarize_threshold=0)
    async with serving(settings, model=ScriptedModel(lambda _: "Of course.")) as found:
        await found.add_admin()
        await found.add_user(OFFICER, "data_protection")
        yield found


@http
async def test_person_erases_themselves_with_the_password(service: Service) -> None:
    await service.add_user(EVA)
    headers = await service.bearer(EVA)
    await service.client.post("/chat", json={"prompt": "Secret"}, headers=headers)
    wrong = await service.client.request(
        "DELETE", "/me", json={"password": "a wrong password!"}, headers=headers
    )
    assert code_of(wrong) == (401, "invalid_credentials")
    answer = await service.client.request(
        "DELETE", "/me", json={"password": PASSWORD}, headers=headers
    )
    assert answer.status_code == 200
    receipt = answer.json()["receipt"]
    assert receipt["erased"]["sessions"] == receipt["erased"]["users"] == 1
    key = service.use.settings.auth.raw_audit_key.encode()
    assert is_authentic(_receipt(receipt), [key])
    assert code_of(await service.client.get("/me", headers=headers)) == (401, "invalid_token")
    login = {"email": EVA, "password": PASSWORD}
    again = await service.client.post("/auth/login", json=login)
    assert code_of(again) == (401, "invalid_credentials")


def _receipt(found: dict[str, object]) -> Receipt:
    return Receipt(
        receipt_id=str(found["receipt_id"]),
        erased=found["erased"],  # type: ignore[arg-type] # JSON
        at=datetime.fromisoformat(str(found["at"])),
        mac=str(found["mac"]),
    )


@http
async def test_last_administrator_cannot_erase_themselves(service: Service) -> None:
    headers = await service.bearer()
    answer = await service.client.request(
        "DELETE", "/me", json={"password": PASSWORD}, headers=headers
    )
    assert code_of(answer) == (409, "last_administrator")
    assert (await service.client.get("/me", headers=headers)).status_code == 200


@http
async def test_session_on_hold_keeps_a_person_from_erasing_themselves(service: Service) -> None:
    await service.add_user("leo@example.com")
    headers = await service.bearer("leo@example.com")
    turn = await service.client.post("/chat", json={"prompt": "Secret"}, headers=headers)
    hold = f"/sessions/{turn.json()['session_id']}/hold"
    officer = await service.bearer(OFFICER)
    await service.client.post(hold, json={"reason": "Complaint 2026-17"}, headers=officer)
    answer = await service.client.request(
        "DELETE", "/me", json={"password": PASSWORD}, headers=headers
    )
    assert code_of(answer) == (409, "session_held")
    assert "on hold (1)" in answer.json()["detail"]
    assert (await service.client.get("/me", headers=headers)).status_code == 200


def test_retention_command_counts_deletes_and_doubts_the_clock(
    ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETENTION_SESSIONS_DAYS", "30")
    assert load_settings().retention.sessions_days == 30
    status, out, _ = ready("retention", "run", "--dry-run")
    assert (status, out.strip()) == (
        0,
        "would delete: 0 sessions, 0 messages; kept on hold: 0 sessions",
    )
    status, _, err = ready("retention", "run")
    assert status == 1
    assert "--clock-is-right" in err
    assert err.count("\n") == 1
    status, out, _ = ready("retention", "run", "--clock-is-right")
    assert (status, out.strip()) == (
        0,
        "deleted: 0 sessions, 0 messages; kept on hold: 0 sessions",
    )
