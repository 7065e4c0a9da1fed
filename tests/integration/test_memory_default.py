"""Memory as an opt-in: nothing is learned, used or searched for people who have not switched it on."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.domain.identity import Owner
from chatbot.domain.memory_changes import added
from chatbot.domain.memory_items import checked
from chatbot.domain.person_memory import ItemKind, MemorySettings, PersonMemory
from chatbot.domain.ports.storage import Storage
from chatbot.domain.repositories.person_memories import PERSON_MEMORIES, PersonMemories
from chatbot.domain.transaction import Transaction
from conversation import START, by_task, fresh_ids
from service import Service, serving, settings_for_tests

PATH = "/me/memory/settings"
ON = {"enabled": True, "cross_session": True, "extract": True}
OFF = MemorySettings(enabled=False)
ANA = Owner(kind="user", id="a" * 32)


@pytest.fixture
async def service() -> AsyncGenerator[Service]:
    model = ScriptedModel(by_task(extract=lambda _: json.dumps({"facts": ["I like tea"]})))
    settings = settings_for_tests(memory_default="off", mem_extract_every=1)
    async with serving(settings, model=model) as found:
        yield found


async def talk(service: Service, prompt: str) -> dict[str, Any]:
    answer = (await service.client.post("/chat", json={"prompt": prompt})).json()
    await service.client.get(f"/sessions/{answer['session_id']}/memory")
    return dict(answer)


async def items(service: Service) -> list[str]:
    found = (await service.client.get("/me/memory")).json()["items"]
    return [each["text"] for each in found]


async def test_nothing_is_learned_or_used_before_a_person_switches_it_on(service: Service) -> None:
    before = (await service.client.get(PATH)).json()
    assert before.pop("notice").startswith("La memoria está desactivada")
    assert before == {**ON, "enabled": False}
    await talk(service, "I like tea")
    assert await items(service) == []
    body = {"kind": "fact", "text": "Drinks coffee"}
    (await service.client.post("/me/memory", json=body)).raise_for_status()
    assert (await talk(service, "Hi"))["memory_used"] == []
    after = await service.client.put(PATH, json=ON)
    assert after.json()["enabled"] is True
    await talk(service, "I like tea")
    assert set(await items(service)) == {"I like tea", "Drinks coffee"}
    assert (await talk(service, "Hi"))["memory_used"]


async def test_settings_say_in_plain_words_what_is_kept(service: Service) -> None:
    headers = {"Accept-Language": "en"}
    answer = (await service.client.put(PATH, json=ON, headers=headers)).json()
    assert answer["notice"].startswith("The memory is on. Of what you say about yourself")
    again = await service.client.put(PATH, json={**answer, "enabled": False}, headers=headers)
    assert again.json()["notice"].startswith("The memory is off")


async def test_change_of_the_default_applies_to_all_who_have_not_chosen(
    closed_storage: Storage,
) -> None:
    def learned(person: PersonMemory) -> PersonMemory:
        new = checked(ItemKind.FACT, None, "Likes tea")
        return added(person, new, now=START, new_id=fresh_ids())

    def choosing(tx: Transaction) -> list[bool]:
        opted = PersonMemories(tx.records, tx.sessions, OFF)
        default = PersonMemories(tx.records, tx.sessions)
        seen = [opted.of(ANA).settings.enabled, default.of(ANA).settings.enabled]
        opted.change(ANA, learned)
        seen += [opted.of(ANA).settings.enabled, default.of(ANA).settings.enabled]
        chosen = default.of(ANA).settings
        default.change(ANA, lambda known: known.with_settings(chosen))
        return [*seen, opted.of(ANA).settings.enabled]

    async with closed_storage as storage:
        found = await storage.transact(choosing)
        stored = await storage.transact(lambda tx: tx.records.get(PERSON_MEMORIES, ANA.key))
    assert found == [False, True, False, True, True]
    assert stored is not None
    assert [item.text for item in stored.items] == ["Likes tea"]
