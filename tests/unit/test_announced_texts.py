"""A text that comes in a message of its own, after one that announces it, is not the person's."""

import json
from dataclasses import replace

import pytest

from chatbot.application.memory_rules import MemoryRules
from chatbot.domain.memory_sentences import announces
from chatbot.domain.person_memory import ItemState
from chatbot.domain.ports.model import ModelRequest
from conversation import ANA, RULES, ChatApp, by_task

SAID = "I live in Getafe."
EACH_TURN = replace(RULES, extract_every=1)
TOGETHER = replace(RULES, extract_every=3)


def extract(request: ModelRequest) -> str:
    said = json.loads(request.messages[0].text.split("\n")[1])["messages"]
    is_said = any(SAID in each["text"] for each in said)
    return json.dumps({"facts": ["lives in Getafe"]} if is_said else {})


async def state_after(*prompts: str, rules: MemoryRules = EACH_TURN) -> ItemState:
    app = ChatApp(by_task(extract=extract), rules=rules)
    session_id = None
    for prompt in prompts:
        session_id = (await app.ask(prompt, session_id)).session_id
    assert session_id is not None
    await app.steps.extract(ANA.owner, session_id, at_once=True)
    [item] = (await app.person()).items
    return item.state


@pytest.mark.parametrize("rules", [EACH_TURN, TOGETHER])
@pytest.mark.parametrize(
    ("before", "state"),
    [
        ("Here is the letter of my neighbour", ItemState.PENDING),
        ("¿Puedes traducir este texto?", ItemState.PENDING),
        ("Good morning!", ItemState.ACTIVE),
    ],
)
async def test_announced_text_waits_for_confirmation(
    before: str, state: ItemState, rules: MemoryRules
) -> None:
    assert await state_after("Hello", before, SAID, rules=rules) is state


async def test_only_the_next_message_is_the_announced_one() -> None:
    found = await state_after("Here is the letter", "Dear Sir, goodbye.", SAID)
    assert found is ItemState.ACTIVE


def test_request_with_its_text_announces_nothing() -> None:
    assert announces("Please translate this:")
    text = "Please translate this: the meeting is on Monday, in the room on the second floor."
    assert not announces(text)
