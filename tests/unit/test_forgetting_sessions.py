"""What is forgotten leaves prompts and summaries of the sessions that taught it."""

import json
from dataclasses import replace
from datetime import timedelta

from chatbot.adapters.llm.scripted import Answer
from chatbot.application.person_memory import OwnMemory
from chatbot.domain.chat import SessionId
from chatbot.domain.fingerprints import ANYTHING
from chatbot.domain.person_memory import Item, ItemState
from chatbot.domain.ports.model import ModelRequest, Task
from conversation import ANA, RULES, START, ChatApp, by_task, fresh_ids

NUTS = "I am allergic to nuts"
ALLERGY = {"facts": ["allergic to nuts"]}
EACH_TURN = replace(RULES, extract_every=1, window=2, threshold=4)
OWNER = ANA.owner
LATER = START + timedelta(days=1)


def extract(request: ModelRequest) -> Answer:
    """Learns of the allergy from any message that states it, and forgets it when asked to."""
    said = json.loads(request.messages[0].text.split("\n")[1])["messages"]
    text = " ".join(each["text"] for each in said)
    if "forget" in text:
        return json.dumps({"forget": ["allergic to nuts"]})
    return json.dumps(ALLERGY if NUTS in text else {})


def summarize(request: ModelRequest) -> Answer:
    content = json.loads(request.messages[0].text.split("\n")[1])
    return " ".join([content["summary"], *(each["text"] for each in content["messages"])])


def new_app() -> ChatApp:
    return ChatApp(by_task(extract=extract, summarize=summarize), rules=EACH_TURN)


def own_memory(app: ChatApp) -> OwnMemory:
    return OwnMemory(app.storage, app.consolidation, None, clock=lambda: LATER, new_id=fresh_ids())


async def talk(app: ChatApp, *prompts: str, session_id: SessionId | None = None) -> SessionId:
    for prompt in prompts:
        session_id = (await app.ask(prompt, session_id)).session_id
    assert session_id is not None
    return session_id


async def only_item(app: ChatApp) -> Item:
    [item] = (await app.person()).items
    return item


async def forget(app: ChatApp) -> None:
    await own_memory(app).forget(ANA, (await only_item(app)).id, expected=ANYTHING)


SMALL_TALK = [f"small talk {number}" for number in range(5)]


async def test_summary_that_holds_a_forgotten_item_is_made_again_without_it() -> None:
    app = new_app()
    session_id = await talk(app, NUTS, *SMALL_TALK)
    before = await app.memory(session_id)
    assert "nuts" in before.summary
    await forget(app)
    await app.consolidation.wait_for(OWNER, session_id)
    after = await app.memory(session_id)
    assert "nuts" not in after.summary
    assert "small talk 0" in after.summary
    assert after.summarized_to >= before.summarized_to
    assert (await only_item(app)).state is ItemState.FORGOTTEN


async def test_summary_is_made_again_after_a_restart() -> None:
    app = new_app()
    session_id = await talk(app, NUTS, *SMALL_TALK)
    await app.consolidation.aclose()
    await forget(app)
    assert (await app.memory(session_id)).summary == ""
    again = ChatApp(
        by_task(extract=extract, summarize=summarize), storage=app.storage, rules=EACH_TURN
    )
    await talk(again, "and now?", session_id=session_id)
    summary = (await again.memory(session_id)).summary
    assert "small talk 0" in summary
    assert "nuts" not in summary


async def test_turns_that_taught_it_are_in_no_later_prompt() -> None:
    app = new_app()
    session_id = await talk(app, NUTS)
    await forget(app)
    asked = len(app.asked())
    await talk(app, "what do you know?", session_id=session_id)
    [request] = app.asked()[asked:]
    assert not [text for text in request.texts if "nuts" in text]


async def test_request_to_forget_in_another_session_empties_and_remakes_the_summary() -> None:
    app = new_app()
    session_id = await talk(app, NUTS, *SMALL_TALK)
    other = await talk(app, "please forget that I am allergic to nuts")
    assert (await only_item(app)).state is ItemState.FORGOTTEN
    await app.consolidation.wait_for(OWNER, session_id)
    summary = (await app.memory(session_id)).summary
    assert "small talk 0" in summary
    assert "nuts" not in summary
    hidden = (await app.person()).hidden_messages
    assert {(session_id, 1), (session_id, 2), (other, 1), (other, 2)} <= hidden


async def test_summary_that_does_not_cover_the_message_stays() -> None:
    app = new_app()
    session_id = await talk(app, *SMALL_TALK, NUTS)
    before = (await app.memory(session_id)).summary
    assert before
    await forget(app)
    assert (await app.memory(session_id)).summary == before


async def test_deleted_session_takes_its_quotes_along_and_leaves_the_item() -> None:
    app = new_app()
    session_id = await talk(app, NUTS)
    assert (await only_item(app)).sources[0].quote == NUTS
    await app.sessions.delete(ANA, session_id)
    item = await only_item(app)
    assert (item.text, item.state) == ("allergic to nuts", ItemState.ACTIVE)
    assert (item.sources[0].quote, item.sources[0].is_removed) == ("", True)


async def test_reset_session_shows_no_items_and_the_person_keeps_them() -> None:
    app = new_app()
    session_id = await talk(app, NUTS)
    reset = await app.sessions.reset(ANA, session_id)
    assert reset.memory.structured.facts == ()
    assert (await only_item(app)).state is ItemState.ACTIVE


async def test_nothing_is_learned_from_messages_before_everything_was_forgotten() -> None:
    before = ChatApp(by_task(), rules=replace(EACH_TURN, structured=False))
    session_id = await talk(before, NUTS)
    app = ChatApp(by_task(extract=extract), storage=before.storage, rules=EACH_TURN)
    await own_memory(app).forget_everything(ANA, "forget everything")
    await app.steps.extract(OWNER, session_id, at_once=True)
    assert app.asked(Task.EXTRACT_MEMORY)
    assert not (await app.person()).items
