"""What a change of a role does to the running answers of those who have it."""

import asyncio
import time
from dataclasses import replace

import pytest

from chatbot.adapters.llm.scripted import Script, ScriptedModel
from chatbot.domain.permissions import DEFAULT_ROLES, Permission
from conversation import eventually
from service import HOST, SSE, serving, settings_for_tests

EMAIL = "luis@example.com"
EMPLOYEE = DEFAULT_ROLES["employee"]


@pytest.mark.parametrize(
    ("lost", "ends"), [(Permission.CHAT, True), (Permission.MEMORY, False)], ids=["chat", "memory"]
)
async def test_running_answer_ends_when_a_role_no_longer_allows_to_chat(
    lost: Permission, *, ends: bool
) -> None:
    go_on = asyncio.Event()
    model = ScriptedModel(lambda _: Script(pieces=("Half",), pause=go_on.wait))
    async with serving(settings_for_tests(mem_structured_enable=False), model=model) as service:
        await service.add_admin()
        await service.add_user(EMAIL)
        bearer, began = await service.bearer(EMAIL), time.monotonic()
        asking = service.client.post("/chat", json={"prompt": "Hi"}, headers={**bearer, **SSE})
        asked = asyncio.create_task(asking)
        await eventually(lambda: service.use.chat.running.count == 1)
        fewer = replace(EMPLOYEE, permissions=EMPLOYEE.permissions - {lost})
        await service.use.roles.put(HOST, fewer)
        if not ends:
            await asyncio.sleep(3)  # longer than it takes to end
            go_on.set()
        answer = await asked
    assert time.monotonic() - began < 5
    assert ('"revoked"' in answer.text, "event: done" in answer.text) == (ends, not ends)
