"""Old answers lose the citations of documents that their reader may not read any more."""

import json
from dataclasses import replace

import pytest

from chatbot.application.shown_citations import shown
from chatbot.application.transcripts import transcript_of
from chatbot.domain.answer_details import AnswerDetails
from chatbot.domain.chat import SessionId
from chatbot.domain.documents import Access, Document
from chatbot.domain.permissions import Permission
from chatbot.domain.recall import Recalled, RecalledPassage
from chatbot.entrypoints.http.markdown import written
from chatbot.entrypoints.http.transcripts import json_written
from conversation import NO_MEMORY, ChatApp, caller, message
from recalled import always
from stored_documents import put_document, set_access

ANA = caller("ana", Permission.CHAT, Permission.DOCUMENTS_READ)
BEN = caller("ben", Permission.CHAT, Permission.DOCUMENTS_READ)
PRIVATE = Access()


def found(document: Document, rank: int) -> RecalledPassage:
    return RecalledPassage(
        document_id=document.id,
        version=1,
        seq=1,
        title=document.title,
        text="Everybody has 23 days.",
        start=0,
        end=22,
        rank=rank,
    )


async def cited_in_a_session() -> tuple[ChatApp, SessionId, Document]:
    """A session of Ana, whose answer cites two public documents of Ben; the second one is returned."""
    storage = ChatApp([]).storage
    one, two = await storage.transact(
        lambda tx: [
            put_document(tx, title, ["Everybody has 23 days."], uploader=BEN.owner)
            for title in ("One", "Two *")
        ]
    )
    app = ChatApp(
        ["23 days [1][2]."],
        storage=storage,
        rules=NO_MEMORY,
        recall=always(Recalled(passages=(found(one, 1), found(two, 2)))),
    )
    return app, (await app.ask("days?", who=ANA)).session_id, two


async def titles_shown(app: ChatApp, session_id: SessionId) -> list[str]:
    view = await app.sessions.read(ANA, session_id, limit=10, before=None)
    return [each.title for each in view.messages[-1].citations]


async def test_citation_is_dropped_on_the_next_read_after_the_access_has_changed() -> None:
    app, session_id, document = await cited_in_a_session()
    assert await titles_shown(app, session_id) == ["One", "Two *"]
    changed = await app.storage.transact(lambda tx: set_access(tx, document, PRIVATE))
    assert await titles_shown(app, session_id) == ["One"]
    await app.storage.transact(lambda tx: set_access(tx, changed, document.access))
    assert await titles_shown(app, session_id) == ["One", "Two *"]


async def test_citation_is_dropped_when_its_document_is_deleted() -> None:
    app, session_id, document = await cited_in_a_session()
    await app.storage.transact(lambda tx: tx.documents.remove(document.id))
    assert await titles_shown(app, session_id) == ["One"]


async def test_citations_are_dropped_for_a_reader_without_the_permission() -> None:
    app, session_id, _ = await cited_in_a_session()
    blind = caller("ana", Permission.CHAT)
    view = await app.sessions.read(blind, session_id, limit=10, before=None)
    assert view.messages[-1].citations == ()


@pytest.mark.parametrize("is_closed", [False, True])
async def test_exports_name_only_the_documents_that_the_reader_may_read(is_closed: bool) -> None:
    app, session_id, document = await cited_in_a_session()
    if is_closed:
        await app.storage.transact(lambda tx: set_access(tx, document, PRIVATE))

    async def exported() -> tuple[str, str]:
        one, other = [
            await transcript_of(app.storage, ANA, ANA.owner, session_id) for _ in range(2)
        ]
        return (
            "".join([piece async for piece in json_written(one, {})]),
            "".join([piece async for piece in written(other)]),
        )

    as_json, as_markdown = await exported()
    cited = json.loads(as_json)["messages"][-1]["citations"]
    assert [each["title"] for each in cited] == ["One"] + ["Two *"] * (not is_closed)
    assert "\n- \\[1\\] One: Rules\n" in as_markdown
    assert ("\n- \\[2\\] Two \\*: Rules\n" in as_markdown) is not is_closed


async def test_messages_without_citations_are_not_touched() -> None:
    app = ChatApp([])
    plain = (message(1, "a"), replace(message(2, "b"), details=AnswerDetails()))
    assert await app.storage.transact(lambda tx: shown(tx, ANA, plain)) is plain
