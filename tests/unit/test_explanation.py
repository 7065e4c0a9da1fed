"""What the prompt of an answer was made of: by reference, for its owner, for 30 days."""

from datetime import timedelta

import pytest

from chatbot.application.explanation import ExplainedPart, Explanations
from chatbot.domain.chat import SessionId
from chatbot.domain.documents import Access, Document
from chatbot.domain.errors import Forbidden, NotFound
from chatbot.domain.memory_changes import added
from chatbot.domain.memory_tombstones import forgotten
from chatbot.domain.permissions import Permission
from chatbot.domain.person_memory import PersonMemory
from chatbot.domain.recall import KnownItem, Recalled, RecalledPassage
from chatbot.entrypoints.container.parts import random_id
from conversation import BEN, NO_MEMORY, START, ChatApp, caller, fresh_ids
from person_memories import said, source
from recalled import always, past
from stored_documents import put_document, set_access

ANA = caller("ana", Permission.CHAT, Permission.MEMORY, Permission.DOCUMENTS_READ)
DAYS = "Everybody has 23 days."


async def explained_app() -> tuple[ChatApp, Document, SessionId, str]:
    """Ana has asked in one session, and in a second one with everything recalled."""
    first = ChatApp(["noted"], rules=NO_MEMORY)
    taught = (await first.ask("I have a dog", who=ANA)).session_id

    def learned(person: PersonMemory) -> PersonMemory:
        new = said("has a dog", source(1, taught))
        return added(person, new, now=START, new_id=fresh_ids())

    document = await first.storage.transact(
        lambda tx: put_document(tx, "Holidays", [DAYS], uploader=BEN.owner)
    )
    person = await first.storage.transact(lambda tx: tx.person_memories.change(ANA.owner, learned))
    item = person.items[0]
    recalled = Recalled(
        items=(KnownItem(id=item.id, kind="fact", text=item.text, rank=1),),
        messages=(past(1, "I have a dog", session_id=taught),),
        passages=(
            RecalledPassage(
                document_id=document.id,
                version=1,
                seq=1,
                title=document.title,
                text=DAYS,
                start=0,
                end=len(DAYS),
                rank=1,
            ),
        ),
    )
    app = ChatApp(
        ["23 [1]."],
        storage=first.storage,
        rules=NO_MEMORY,
        recall=always(recalled),
        new_id=random_id,
    )
    reply = await app.ask("days?", who=ANA)
    app.explanations = Explanations(app.storage, clock=lambda: START + timedelta(days=1))
    return app, document, reply.session_id, reply.turn_id


async def parts(app: ChatApp, session_id: SessionId, turn_id: str) -> dict[str, ExplainedPart]:
    found = await app.explanations.of(ANA, session_id, turn_id)
    return {each.part.kind: each for each in found.parts}


async def test_owner_sees_the_parts_of_a_prompt_with_their_texts() -> None:
    app, _, session_id, turn_id = await explained_app()
    found = await parts(app, session_id, turn_id)
    assert [*found] == ["system", "question", "item", "recalled", "passage"]
    assert found["system"].text is None, "the company's instructions are not the person's"
    assert (found["question"].first, found["question"].last) == (1, 1)
    assert (found["item"].text, found["item"].part.rank) == ("has a dog", 1)
    assert (found["recalled"].text, found["recalled"].first) == ("I have a dog", 1)
    passage = found["passage"]
    assert (passage.text, passage.title, passage.heading, passage.n) == (
        DAYS,
        "Holidays",
        "Rules",
        1,
    )


async def test_citations_and_decisions_are_explained_too() -> None:
    app, document, session_id, turn_id = await explained_app()
    found = await app.explanations.of(ANA, session_id, turn_id)
    assert [each.document_id for each in found.citations] == [document.id]
    assert found.answer.seq == 2


async def test_passage_of_a_document_that_was_closed_to_the_owner_is_not_named() -> None:
    app, document, session_id, turn_id = await explained_app()
    await app.storage.transact(lambda tx: set_access(tx, document, Access()))
    found = await app.explanations.of(ANA, session_id, turn_id)
    assert "passage" not in {each.part.kind for each in found.parts}
    assert found.citations == ()


async def test_text_of_a_forgotten_item_and_of_its_message_is_gone() -> None:
    app, _, session_id, turn_id = await explained_app()

    def forget(person: PersonMemory) -> PersonMemory:
        return forgotten(person, person.items, now=START, new_id=fresh_ids())

    await app.storage.transact(lambda tx: tx.person_memories.change(ANA.owner, forget))
    found = await parts(app, session_id, turn_id)
    assert (found["item"].text, found["recalled"].text) == (None, None)
    assert found["item"].part.tokens > 0


async def test_text_of_a_message_whose_session_was_deleted_is_gone() -> None:
    app, _, session_id, turn_id = await explained_app()
    recalled = (await parts(app, session_id, turn_id))["recalled"]
    assert recalled.session_id is not None
    await app.sessions.delete(ANA, SessionId(recalled.session_id))
    assert (await parts(app, session_id, turn_id))["recalled"].text is None


async def test_explanation_ends_after_thirty_days() -> None:
    app, _, session_id, turn_id = await explained_app()
    asked_at = (await app.messages(session_id, who=ANA))[-1].ts
    for age, is_kept in ((timedelta(days=30), True), (timedelta(days=30, seconds=1), False)):
        late = Explanations(app.storage, clock=lambda age=age: asked_at + age)  # type: ignore[misc] # a default
        if is_kept:
            assert (await late.of(ANA, session_id, turn_id)).parts
        else:
            with pytest.raises(NotFound):
                await late.of(ANA, session_id, turn_id)


async def test_only_the_owner_gets_an_explanation_and_unknown_turns_have_none() -> None:
    app, _, session_id, turn_id = await explained_app()
    with pytest.raises(NotFound):
        await app.explanations.of(BEN, session_id, turn_id)
    with pytest.raises(NotFound):
        await app.explanations.of(ANA, session_id, "0" * 32)
    with pytest.raises(Forbidden):
        await app.explanations.of(caller("ana", Permission.MEMORY), session_id, turn_id)


async def test_turn_is_found_in_a_long_session() -> None:
    app, _, session_id, turn_id = await explained_app()
    await app.add_turns(session_id, 300, who=ANA)
    assert (await app.explanations.of(ANA, session_id, turn_id)).answer.seq == 2
