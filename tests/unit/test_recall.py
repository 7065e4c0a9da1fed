"""What a turn recalls: other sessions of the person, documents that the caller may read, no more."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.application.recall import Recaller
from chatbot.application.recall_plan import MemoryRecall
from chatbot.application.turn import Reply
from chatbot.domain.chat import SessionId
from chatbot.domain.documents import Access, Document
from chatbot.domain.errors import PromptRefused, StorageUnavailable
from chatbot.domain.identity import Principal
from chatbot.domain.memory_changes import added
from chatbot.domain.memory_items import NewItem
from chatbot.domain.memory_tombstones import forgotten
from chatbot.domain.permissions import Permission
from chatbot.domain.person_memory import ItemKind, ItemOrigin, MemorySettings, PersonMemory
from chatbot.domain.ports.search import Search
from chatbot.domain.recall import DocumentChoice
from chatbot.entrypoints.container.search_parts import build_search
from conversation import NO_MEMORY, START, ChatApp, by_task, caller, fresh_ids
from samples import T0
from stored_documents import put_document, set_access

RIGHTS = (Permission.CHAT, Permission.MEMORY, Permission.DOCUMENTS_READ)
ANA, BEN = caller("ana", *RIGHTS), caller("ben", *RIGHTS)
HOLIDAYS = "Employees get 23 days of holidays a year."
MANAGERS = "Managers get 30 days of holidays a year."
QUESTION = "How many days of holidays do employees get?"
EVERYTHING = MemoryRecall.ITEMS_AND_MESSAGES


def app_with(
    memory: MemoryRecall = EVERYTHING, *, documents: bool = True, search: Search | None = None
) -> ChatApp:
    app = ChatApp(by_task(chat=lambda _: "Noted [1]."), rules=NO_MEMORY)
    found = search or build_search(app.storage)
    recaller = Recaller(app.storage, found, memory=memory, documents=documents)
    return ChatApp(
        by_task(chat=lambda _: "Noted [1]."),
        storage=app.storage,
        rules=NO_MEMORY,
        recall=recaller.recall,
    )


async def with_document(
    app: ChatApp,
    texts: Sequence[str] = (HOLIDAYS, MANAGERS),
    access: Access = Access(public=True),  # noqa: B008 # frozen
    **options: Any,
) -> Document:
    return await app.storage.transact(
        lambda tx: put_document(tx, "Holidays", texts, uploader=BEN.owner, access=access, **options)
    )


async def passages_for(
    app: ChatApp, question: str, *, who: Principal = ANA, **options: Any
) -> list[str]:
    """The passages in the prompt of a question in a new session."""
    events = app.chat.reply(who, None, question, stream=False, **options)
    [*_, reply] = [event async for event in events]
    assert isinstance(reply, Reply)
    return await recalled_in(app, reply, "passage", who=who)


async def recalled_in(app: ChatApp, reply: Reply, kind: str, *, who: Principal = ANA) -> list[str]:
    found = await app.explanations.of(who, reply.session_id, reply.turn_id)
    return [each.text or "" for each in found.parts if each.part.kind == kind]


async def decisions_of(app: ChatApp, reply: Reply, *, who: Principal = ANA) -> list[str]:
    return [*(await app.explanations.of(who, reply.session_id, reply.turn_id)).decisions]


def messages_used(reply: Reply) -> list[str]:
    return [each.text for each in reply.memory_used if each.kind == "message"]


# --- documents -------------------------------------------------------------------------------


async def test_passages_that_fit_the_question_are_given_the_best_first() -> None:
    app = app_with()
    await with_document(app)
    assert await passages_for(app, QUESTION) == [HOLIDAYS, MANAGERS]
    assert await passages_for(app, "Where can I park my bicycle?") == []


@pytest.mark.parametrize("days", [1, -1])
async def test_same_text_of_two_documents_is_given_once_from_the_newer_one(days: int) -> None:
    app = app_with()
    for title, at in (("Uploaded", T0), ("Ingested", T0 + timedelta(days=days))):
        texts = [HOLIDAYS, "Everything about parking."]
        put = partial(put_document, title=title, texts=texts, uploader=BEN.owner, created_at=at)
        await app.storage.transact(put)
    reply = await app.ask(QUESTION, who=ANA)
    assert await recalled_in(app, reply, "passage") == [HOLIDAYS]
    assert [each.title for each in reply.citations] == ["Ingested" if days > 0 else "Uploaded"]


async def test_same_text_is_given_from_the_document_that_the_caller_may_read() -> None:
    app = app_with()
    await with_document(app)
    await app.storage.transact(
        lambda tx: put_document(
            tx,
            "Newer",
            [HOLIDAYS],
            uploader=BEN.owner,
            access=Access(),
            created_at=T0 + timedelta(days=1),
        )
    )
    assert [each.title for each in (await app.ask(QUESTION, who=ANA)).citations] == ["Holidays"]
    assert [each.title for each in (await app.ask(QUESTION, who=BEN)).citations] == ["Newer"]


async def test_follow_up_finds_what_the_question_before_was_about() -> None:
    app = app_with()
    await with_document(app, ["Everything about parking.", MANAGERS])
    session_id = (await app.ask(QUESTION, who=ANA)).session_id
    reply = await app.ask("and for managers?", session_id, who=ANA)
    assert await recalled_in(app, reply, "passage") == [MANAGERS]
    assert await decisions_of(app, reply) == ["searched_with_previous_question"]


async def test_document_of_others_is_not_found_until_it_is_shared_and_not_after() -> None:
    app = app_with()
    document = await with_document(app, access=Access())
    assert await passages_for(app, QUESTION) == []
    assert await passages_for(app, QUESTION, who=BEN) == [HOLIDAYS, MANAGERS]
    shared = Access(users=("ana",))
    document = await app.storage.transact(
        lambda tx: set_access(tx, document, replace(shared, public=True))
    )
    assert await passages_for(app, QUESTION) == [HOLIDAYS, MANAGERS]
    await app.storage.transact(lambda tx: set_access(tx, document, Access()))
    assert await passages_for(app, QUESTION) == []


async def test_caller_without_the_permission_finds_no_public_document() -> None:
    app = app_with()
    await with_document(app)
    assert await passages_for(app, QUESTION, who=caller("ana", Permission.CHAT)) == []


@pytest.mark.parametrize(
    ("choice", "is_found"),
    [
        (DocumentChoice(), True),
        (DocumentChoice(labels=("hr",)), True),
        (DocumentChoice(labels=("HR", "it")), True),
        (DocumentChoice(labels=("it",)), False),
        (DocumentChoice(is_off=True), False),
    ],
)
async def test_request_chooses_documents_by_label_or_none(
    choice: DocumentChoice, is_found: bool
) -> None:
    app = app_with()
    await with_document(app, labels=("hr",))
    assert bool(await passages_for(app, QUESTION, documents=choice)) == is_found


async def test_the_prompt_says_so_when_nothing_relevant_is_found() -> None:
    app = app_with()
    await with_document(app)
    reply = await app.ask("Where can I park my bicycle?", who=ANA)
    assert '"passages":[]' in app.asked()[-1].messages[-1].text
    assert (reply.text, reply.citations) == ("Noted.", ())
    assert await decisions_of(app, reply) == ["no_relevant_passage"]


@pytest.mark.parametrize(
    ("documents", "who", "decision"),
    [
        (False, ANA, "documents_off"),
        (True, ANA, "no_readable_documents"),
        (True, caller("ana", Permission.CHAT), "documents_not_permitted"),
    ],
)
async def test_prompt_without_documents_says_nothing_of_them(
    documents: bool, who: Principal, decision: str
) -> None:
    app = app_with(documents=documents)
    reply = await app.ask(QUESTION, who=who)
    assert app.asked()[-1].messages[-1].text == QUESTION
    assert reply.text == "Noted [1].", "brackets are text where no documents are"
    assert await decisions_of(app, reply, who=who) == [decision]


# --- messages of other sessions --------------------------------------------------------------


async def test_messages_of_other_sessions_are_recalled_with_their_source() -> None:
    app = app_with()
    told = await app.ask("My sister Marta lives in Oslo.", who=ANA)
    reply = await app.ask("Where does my sister Marta live?", who=ANA)
    [recalled] = [each for each in reply.memory_used if each.kind == "message"]
    assert (recalled.text, recalled.session_id, recalled.seq) == (
        "My sister Marta lives in Oslo.",
        told.session_id,
        1,
    )
    assert "Oslo" in app.asked()[-1].messages[-1].text


async def test_messages_of_the_session_itself_and_of_others_are_not_recalled() -> None:
    app = app_with()
    told = await app.ask("My sister Marta lives in Oslo.", who=ANA)
    again = await app.ask("Where does my sister Marta live?", told.session_id, who=ANA)
    other = await app.ask("Where does my sister Marta live?", who=BEN)
    assert messages_used(again) == messages_used(other) == []


@pytest.mark.parametrize("memory", [MemoryRecall.ITEMS, MemoryRecall.OFF])
async def test_setting_of_the_service_turns_recall_of_messages_off(memory: MemoryRecall) -> None:
    app = app_with(memory)
    await app.ask("My sister Marta lives in Oslo.", who=ANA)
    reply = await app.ask("Where does my sister Marta live?", who=ANA)
    assert messages_used(reply) == []
    expected = {"items": "message_recall_off", "off": "memory_recall_off"}[memory]
    assert expected in await decisions_of(app, reply)


@pytest.mark.parametrize(
    ("settings", "decision"),
    [
        (MemorySettings(enabled=False), "memory_disabled_by_person"),
        (MemorySettings(cross_session=False), "other_sessions_disabled_by_person"),
    ],
)
async def test_settings_of_the_person_turn_recall_off(
    settings: MemorySettings, decision: str
) -> None:
    app = app_with()
    await app.ask("My sister Marta lives in Oslo.", who=ANA)

    def change(person: PersonMemory) -> PersonMemory:
        return person.with_settings(settings)

    await app.storage.transact(lambda tx: tx.person_memories.change(ANA.owner, change))
    reply = await app.ask("Where does my sister Marta live?", who=ANA)
    assert messages_used(reply) == []
    assert decision in await decisions_of(app, reply)


async def taught(app: ChatApp, text: str) -> SessionId:
    """A session whose message has taught an item, which is then forgotten."""
    from person_memories import said, source  # noqa: PLC0415 - it imports `conversation`, too

    session_id = (await app.ask(text, who=ANA)).session_id

    def learn_and_forget(person: PersonMemory) -> PersonMemory:
        known = added(person, said(text, source(1, session_id)), now=START, new_id=fresh_ids())
        return forgotten(known, known.items, now=START, new_id=fresh_ids())

    await app.storage.transact(lambda tx: tx.person_memories.change(ANA.owner, learn_and_forget))
    return session_id


async def test_message_that_taught_a_forgotten_item_is_not_recalled() -> None:
    app = app_with()
    await taught(app, "My sister Marta lives in Oslo.")
    assert messages_used(await app.ask("Where does my sister Marta live?", who=ANA)) == []


async def test_refused_and_interrupted_messages_are_not_recalled() -> None:
    def answer(request: Any) -> Any:
        return PromptRefused() if "Oslo" in request.messages[-1].text else "ok"

    app = ChatApp(by_task(chat=answer), rules=NO_MEMORY)
    with pytest.raises(PromptRefused):
        await app.ask("My sister Marta lives in Oslo.", who=ANA)
    reply = await app.ask("Where does my sister Marta live?", who=ANA)
    assert (reply.text, messages_used(reply)) == ("ok", [])
    assert len(app.asked()) == 2, "no prompt was refused for what it recalled"


async def test_answer_that_cites_a_closed_document_is_not_recalled() -> None:
    app = app_with()
    document = await with_document(app, ["The bonus of Oslo managers is 900 euros."])
    app.model._answer = lambda _: "The bonus of Oslo managers is 900 euros [1]."
    await app.ask("What is the bonus of Oslo managers?", who=ANA)
    again = await app.ask("Which bonus do Oslo managers have?", who=ANA)
    assert any("900" in text for text in messages_used(again))
    await app.storage.transact(lambda tx: set_access(tx, document, Access()))
    later = await app.ask("Which bonus do Oslo managers have, again?", who=ANA)
    assert not any("900 euros [1]" in text for text in messages_used(later))


# --- failures and costs ----------------------------------------------------------------------


class Counting(Search):
    """Counts searches, and may fail."""

    def __init__(self, failure: StorageUnavailable | None = None) -> None:
        self.calls: list[str] = []
        self._failure = failure

    def look(self, *_: Any) -> Any:
        return ()

    async def messages(self, *_: Any, **__: Any) -> Any:
        return self._called("messages")

    async def documents(self, *_: Any, **__: Any) -> Any:
        return self._called("documents")

    async def texts(self, *_: Any, **__: Any) -> Any:
        return self._called("texts")

    def _called(self, name: str) -> Sequence[object]:
        self.calls.append(name)
        if self._failure is not None:
            raise self._failure
        return ()


async def test_failing_search_costs_what_it_would_have_found_and_not_the_answer() -> None:
    app = app_with(search=Counting(StorageUnavailable("disk")))
    await with_document(app)
    reply = await app.ask(QUESTION, who=ANA)
    assert reply.text == "Noted."
    assert "search_failed" in await decisions_of(app, reply)


async def test_index_that_cannot_be_read_costs_neither_the_items_nor_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = app_with()
    await with_document(app)

    def learn(person: PersonMemory) -> PersonMemory:
        fact = NewItem(kind=ItemKind.FACT, text="Works in Oslo.", origin=ItemOrigin.EDITED)
        return added(person, fact, now=START, new_id=fresh_ids())

    await app.storage.transact(lambda tx: tx.person_memories.change(ANA.owner, learn))

    def broken(*_: object) -> None:
        raise StorageUnavailable("The search index changes too often to be read.")

    monkeypatch.setattr(StoredIndex, "snapshot", broken)
    reply = await app.ask(QUESTION, who=ANA)
    assert [each.text for each in reply.memory_used] == ["Works in Oslo."]
    assert "search_failed" in await decisions_of(app, reply)


async def test_passage_is_authorised_again_when_its_text_is_read() -> None:
    class Late(Counting):
        async def documents(self, *_: Any, **options: Any) -> Any:
            read.append(await options["texts"]([(document.id, 1)]))
            await app.storage.transact(lambda tx: set_access(tx, document, Access()))
            read.append(await options["texts"]([(document.id, 1)]))
            return ()

    app, read = app_with(search=Late()), list[object]()
    document = await with_document(app)
    await app.ask(QUESTION, who=ANA)
    assert read == [{(document.id, 1): HOLIDAYS}, {}]


async def test_greeting_searches_nothing_and_a_question_only_what_there_may_be() -> None:
    search = Counting()
    app = app_with(search=search)
    await app.ask("Hello!", who=ANA)
    assert search.calls == []
    session_id = (await app.ask(QUESTION, who=BEN)).session_id
    await app.ask(QUESTION, session_id, who=BEN)
    assert search.calls == [], "there is no other session and no document"
    await app.ask(QUESTION, who=ANA)
    assert search.calls == ["messages"]
    await with_document(app)
    await app.ask(QUESTION, who=ANA)
    assert search.calls == ["messages", "messages", "documents"]


async def test_interrupted_turn_does_not_wait_for_a_search() -> None:
    class Slow(Counting):
        async def messages(self, *_: Any, **__: Any) -> Any:
            await asyncio.sleep(0)
            return ()

    app = app_with(search=Slow())
    events = app.events(QUESTION, who=ANA)
    await anext(events)
    await events.aclose()
    assert app.asked() == []
