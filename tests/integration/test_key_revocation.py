"""A key that ends also ends its running answers, on every store; its use is noted meanwhile."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chatbot.adapters.llm.scripted import Script, ScriptedModel
from chatbot.application.api_keys import ApiKeys, MadeKey
from chatbot.domain.audit import AUDIT
from chatbot.domain.authorization import of_host
from chatbot.entrypoints.container.parts import utc_now
from chatbot.entrypoints.lifecycle import opened_management
from chatbot.entrypoints.settings import Settings
from conversation import eventually
from service import SSE, Service, serving, settings_for_tests

ENDS_WITHIN_S = 5.0
ROOT = of_host("root")


@pytest.fixture
def settings(each_store: str) -> Settings:
    return settings_for_tests(storage_url=each_store, mem_structured_enable=False)


@asynccontextmanager
async def answering(settings: Settings) -> AsyncGenerator[Service]:
    """A service whose model never ends its answer."""
    model = ScriptedModel(lambda _: Script(pieces=("Half",), pause=asyncio.Event().wait))
    async with serving(settings, model=model) as service:
        yield service


def ask(service: Service, made: MadeKey, **more: str) -> Awaitable[Any]:
    headers = {"X-API-Key": made.raw_key, **SSE, **more}
    asking = service.anonymous.post("/chat", json={"prompt": "Hi"}, headers=headers)
    return asyncio.create_task(asking)


def code_in(text: str) -> str:
    assert "event: delta" in text
    error = text.partition("event: error\ndata: ")[2].partition("\n")[0]
    return str(json.loads(error)["code"])


@asynccontextmanager
async def beside(service: Service, settings: Settings) -> AsyncGenerator[ApiKeys]:
    """Manage keys like a command beside the service; in memory, through the service."""
    if settings.storage.url.is_persistent:
        async with opened_management(settings) as use:
            yield use.api_keys
    else:
        yield service.use.api_keys


async def test_running_answer_of_a_key_ends_when_the_key_is_revoked(settings: Settings) -> None:
    async with answering(settings) as service:
        made = await service.add_key()
        asked = ask(service, made)
        await eventually(lambda: bool(service.use.chat.running._turns))
        began = time.monotonic()
        async with beside(service, settings) as keys:
            await keys.revoke(ROOT, made.line.id)
        answer = await asked
    assert time.monotonic() - began < ENDS_WITHIN_S
    assert code_in(answer.text) == "revoked"


async def test_answer_that_begins_with_a_key_just_revoked_ends_in_time_too(
    settings: Settings,
) -> None:
    async with answering(settings) as service:
        made = await service.add_key()
        headers = {"X-API-Key": made.raw_key}
        assert (await service.anonymous.get("/sessions", headers=headers)).status_code == 200
        async with beside(service, settings) as keys:
            await keys.revoke(ROOT, made.line.id)
        revoked_at = time.monotonic()
        await asyncio.sleep(1)
        answer = await ask(service, made)
    assert time.monotonic() - revoked_at < ENDS_WITHIN_S
    assert code_in(answer.text) == "revoked"


async def test_running_answer_of_a_person_ends_with_the_key_of_the_application() -> None:
    async with answering(settings_for_tests(mem_structured_enable=False)) as service:
        await service.add_admin()
        made, other = await service.add_key(), await service.add_key()
        bearer = await service.bearer()
        asked, continues = ask(service, made, **bearer), ask(service, other, **bearer)
        await eventually(lambda: len(service.use.chat.running._turns) == 2)
        await service.use.api_keys.revoke(ROOT, made.line.id)
        assert code_in((await asked).text) == "revoked"
        assert len(service.use.chat.running._turns) == 1
        await service.use.api_keys.revoke(ROOT, other.line.id)
        await continues


async def test_running_answer_ends_when_its_key_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(settings_for_tests(mem_structured_enable=False)) as service:
        made = await service.add_key()
        await service.use.api_keys.rotate(ROOT, made.line.id, overlap=timedelta(hours=1))
        asked = ask(service, made)
        await eventually(lambda: bool(service.use.chat.running._turns))
        later = utc_now() + timedelta(hours=1)
        monkeypatch.setattr(service.use.chat.running._sign_ins, "_clock", lambda: later)
        assert code_in((await asked).text) == "revoked"


async def test_use_of_a_key_is_noted_with_its_day_and_its_address(settings: Settings) -> None:
    async with answering(settings) as service:
        made = await service.add_key()
        headers = {"X-API-Key": made.raw_key}
        before = datetime.now(UTC).date().isoformat()
        for _ in range(3):
            await service.anonymous.get("/sessions", headers=headers)
        await service.use.key_use.aclose()
        page = await service.use.api_keys.page(ROOT, limit=9, after=None)
        entries = await service.use.storage.transact(lambda tx: tx.journal.read(AUDIT, limit=9))
        used = [e.content for e in entries if e.content["action"] == "key.new_address"]
    assert [line.last_used_on for line in page.keys] in (
        [before],
        [datetime.now(UTC).date().isoformat()],
    )
    assert [event["actor"] for event in used] == [
        {"client": made.line.client, "address": "127.0.0.1"}
    ]
    assert used[0]["object"] == {"type": "key", "id": made.line.id}
