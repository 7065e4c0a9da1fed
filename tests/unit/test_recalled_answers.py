"""Answers that used an item: recalled while it is remembered, and not once it is forgotten."""

from datetime import timedelta

from chatbot.application.recall import Recaller
from chatbot.application.recall_plan import MemoryRecall
from chatbot.domain.memory_changes import added
from chatbot.domain.memory_items import checked
from chatbot.domain.memory_tombstones import all_forgotten, forgotten
from chatbot.domain.permissions import Permission
from chatbot.domain.person_memory import ItemKind, PersonMemory
from chatbot.entrypoints.container.search_parts import build_search
from conversation import NO_MEMORY, START, ChatApp, by_task, caller, fresh_ids

ANA = caller("ana", Permission.CHAT, Permission.MEMORY)
ASKED = "Tell me about my relatives, please."


def app() -> ChatApp:
    llm = by_task(chat=lambda _: "Your sister Marta lives in Oslo.")
    storage = ChatApp(llm, rules=NO_MEMORY).storage
    recaller = Recaller(
        storage, build_search(storage), memory=MemoryRecall.ITEMS_AND_MESSAGES, documents=False
    )
    return ChatApp(llm, storage=storage, rules=NO_MEMORY, recall=recaller.recall)


def learned(person: PersonMemory) -> PersonMemory:
    new = checked(ItemKind.FACT, None, "My sister Marta lives in Oslo.")
    return added(person, new, now=START, new_id=fresh_ids())


def all_gone(person: PersonMemory) -> PersonMemory:
    return forgotten(person, person.items, now=START, new_id=fresh_ids())


async def recalled(found: ChatApp) -> list[str]:
    reply = await found.ask("Where does my sister Marta live?", who=ANA)
    await found.sessions.delete(ANA, reply.session_id)
    return [each.text for each in reply.memory_used if each.kind == "message"]


async def test_answer_that_used_an_item_is_recalled_until_the_item_is_forgotten() -> None:
    found = app()
    await found.storage.transact(lambda tx: tx.person_memories.change(ANA.owner, learned))
    await found.ask(ASKED, who=ANA)
    assert await recalled(found) == [ASKED, "Your sister Marta lives in Oslo."]
    await found.storage.transact(lambda tx: tx.person_memories.change(ANA.owner, all_gone))
    assert await recalled(found) == [ASKED]


async def test_nothing_said_before_everything_was_forgotten_is_recalled() -> None:
    found, later = app(), START + timedelta(days=1)
    await found.ask(ASKED, who=ANA)
    assert await recalled(found) == [ASKED, "Your sister Marta lives in Oslo."]

    def everything(person: PersonMemory) -> PersonMemory:
        return all_forgotten(person, later, fresh_ids())

    await found.storage.transact(lambda tx: tx.person_memories.change(ANA.owner, everything))
    assert await recalled(found) == []
