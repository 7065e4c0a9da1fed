"""Answers that used a forgotten item, and paraphrased it: in no search, recall or summary any more."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from chatbot.adapters.llm.scripted import Answer, Script
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.memory_search import MemorySearch, ResultType
from chatbot.application.mentions import Mentions
from chatbot.application.person_memory import CONFIRMATION, OwnMemory
from chatbot.domain.chat import SessionId
from chatbot.domain.fingerprints import ANYTHING
from chatbot.domain.person_memory import ItemKind
from chatbot.domain.ports.model import ModelRequest
from chatbot.domain.ports.storage import Storage
from conversation import ANA, NO_MEMORY, ChatApp, by_task, fresh_ids, ticking_clock

FACT = "My sister Marta lives in Oslo."
PARAPHRASE = "A relative of yours is in the capital of Norway."
RULES = replace(NO_MEMORY, window=2, threshold=4)
OWNER = ANA.owner


def summarize(request: ModelRequest) -> str:
    content = json.loads(request.messages[0].text.split("\n")[1])
    return " ".join([content["summary"], *(each["text"] for each in content["messages"])])


def chat(request: ModelRequest) -> str:
    asked = request.messages[-1].text
    return PARAPHRASE if "Marta" in asked and asked.endswith("relatives.") else "Sure."


class Remembering:
    """A person with an item that an answer used, in a session with a summary of it."""

    def __init__(
        self, storage: Storage, summarize: Callable[[ModelRequest], Answer] = summarize
    ) -> None:
        self.app = ChatApp(by_task(chat=chat, summarize=summarize), storage=storage, rules=RULES)
        self.memory = OwnMemory(
            storage,
            self.app.consolidation,
            Mentions(storage, self.app.search),
            clock=ticking_clock(),
            new_id=fresh_ids(),
        )
        self.search = MemorySearch(storage, self.app.search)

    async def talk(self) -> tuple[str, SessionId]:
        item = await self.memory.add(ANA, ItemKind.FACT, None, FACT)
        session_id = (await self.app.ask("Tell me about my relatives.")).session_id
        for number in range(3):
            await self.app.ask(f"small talk {number}", session_id)
        return item.id, session_id

    async def found(self) -> list[str]:
        results = await self.search.find(
            ANA, "capital of Norway", limit=5, types=[ResultType.MESSAGE]
        )
        return [each.text for each in results]

    async def summary(self, session_id: SessionId) -> str:
        await self.app.consolidation.wait_for(OWNER, session_id)
        return (await self.app.memory(session_id)).summary

    async def recalled(self) -> list[str]:
        reply = await self.app.ask("Which capital of Norway did you mean?")
        return [each.text for each in reply.memory_used if each.kind == "message"]


@pytest.mark.parametrize("everything", [False, True])
async def test_answer_that_used_what_is_forgotten_leaves_searches_recall_and_summaries(
    closed_storage: Storage, everything: bool
) -> None:
    async with closed_storage as storage:
        person = Remembering(storage)
        item_id, session_id = await person.talk()
        assert PARAPHRASE in await person.found()
        assert PARAPHRASE in await person.recalled()
        assert "Norway" in await person.summary(session_id)
        if everything:
            await person.memory.forget_everything(ANA, CONFIRMATION)
        else:
            await person.memory.forget(ANA, item_id, expected=ANYTHING)
        summary = await person.summary(session_id)
        assert "Norway" not in summary
        assert "small talk 0" in summary
        assert PARAPHRASE not in await person.found()
        assert PARAPHRASE not in await person.recalled()
        for number in range(3):
            await person.app.ask(f"more talk {number}", session_id)
        assert "Norway" not in await person.summary(session_id)
        await person.app.consolidation.aclose()


async def test_summary_that_is_being_made_while_its_item_is_forgotten_is_not_stored() -> None:
    made: list[str] = []

    async def forget() -> None:
        [item] = (await person.app.person()).items
        await person.memory.forget(ANA, item.id, expected=ANYTHING)

    def forgetting(request: ModelRequest) -> Answer:
        made.append(summarize(request))
        return Script(pieces=(made[-1],), pause=forget if len(made) == 1 else None)

    person = Remembering(InMemoryStorage(), forgetting)
    _, session_id = await person.talk()
    assert "Norway" in made[0]
    await person.app.ask("and more", session_id)
    assert "Norway" not in await person.summary(session_id)
    assert len(made) > 1
