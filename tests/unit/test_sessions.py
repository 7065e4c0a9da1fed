"""A user's own sessions: isolation, paging, reset, delete, and manual memory corrections."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from chatbot.adapters.llm.scripted import Script
from chatbot.application import leases, transcripts
from chatbot.application.turn import Delta
from chatbot.domain.chat import SessionCursor, SessionId
from chatbot.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, SessionBusy
from chatbot.domain.identity import Owner, Principal
from chatbot.domain.memory import Memory, StructuredMemory, Update
from chatbot.domain.permissions import Permission
from chatbot.domain.person_memory import ItemOrigin, Source
from chatbot.domain.transaction import Transaction
from conversation import ANA, BEN, ChatApp, by_task, caller, eventually, never

UNKNOWN = SessionId("0" * 32)

Call = Callable[[ChatApp, Principal, SessionId], Awaitable[object]]

READS: dict[str, Call] = {
    "read": lambda app, who, number: app.sessions.read(who, number, limit=50, before=None),
    "export": lambda app, who, number: app.sessions.export(who, number),
    "read memory": lambda app, who, number: app.memory_editor.read(who, number),
}
CHANGES: dict[str, Call] = {
    "reset": lambda app, who, number: app.sessions.reset(who, number),
    "delete": lambda app, who, number: app.sessions.delete(who, number),
    "rename": lambda app, who, number: app.sessions.rename(who, number, "Mine"),
    "put summary": lambda app, who, number: app.memory_editor.put_summary(who, number, "mine"),
    "put memory": lambda app, who, number: app.memory_editor.put_structured(
        who, number, Update(facts=("mine",))
    ),
}
CALLS = READS | CHANGES
CORRECTIONS = {name: call for name, call in CHANGES.items() if name.startswith("put")}


@pytest.fixture
def app() -> ChatApp:
    return ChatApp(by_task())


# --- whose it is -----------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_session_of_another_user_is_not_found_like_an_unknown_session(
    app: ChatApp, call: Call
) -> None:
    session_id = await app.filled(turns=2)
    await app.memory_editor.put_summary(ANA, session_id, "Ana's.")
    before = await app.sessions.read(ANA, session_id, limit=50, before=None)
    said = []
    for number in (session_id, UNKNOWN):
        with pytest.raises(NotFound) as refused:
            await call(app, BEN, number)
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert await app.sessions.read(ANA, session_id, limit=50, before=None) == before


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_user_without_the_permission_is_refused_even_on_an_own_session(
    app: ChatApp, call: Call
) -> None:
    session_id = await app.filled(turns=2)
    with pytest.raises(Forbidden):
        await call(app, caller("ana", Permission.USERS_MANAGE), session_id)
    assert len(await app.messages(session_id)) == 4


@pytest.mark.parametrize("call", CORRECTIONS.values(), ids=CORRECTIONS)
async def test_correcting_memory_needs_a_permission_of_its_own(app: ChatApp, call: Call) -> None:
    session_id = await app.filled(turns=1)
    with pytest.raises(Forbidden):
        await call(app, caller("ana", Permission.CHAT), session_id)
    assert await app.memory(session_id) == Memory()


async def test_unauthorized_caller_is_refused_before_the_content_is_checked(app: ChatApp) -> None:
    session_id = await app.filled(turns=1)
    too_much = Update(facts=("x" * 501,))
    with pytest.raises(Forbidden):
        await app.memory_editor.put_structured(caller("ana", Permission.CHAT), session_id, too_much)
    with pytest.raises(NotFound):
        await app.memory_editor.put_structured(BEN, session_id, too_much)


async def test_beginning_and_listing_need_the_permission_to_chat(app: ChatApp) -> None:
    unprivileged = caller("ana", Permission.MEMORY)
    with pytest.raises(Forbidden):
        await app.sessions.begin(unprivileged)
    with pytest.raises(Forbidden):
        await app.sessions.page(unprivileged, limit=1, after=None)


# --- begin, list, read -----------------------------------------------------------------------


async def test_a_new_session_is_empty(app: ChatApp) -> None:
    session_id = await app.sessions.begin(ANA)
    found = await app.sessions.read(ANA, session_id, limit=50, before=None)
    assert (found.session.id, found.session.title) == (session_id, "")
    assert (found.session.message_count, found.session.created_at) == (0, found.session.updated_at)
    assert (found.memory, list(found.messages)) == (Memory(), [])


async def test_pages_list_every_own_session_once_and_the_most_recently_used_first(
    app: ChatApp,
) -> None:
    ids = [(await app.ask(f"hola {n}")).session_id for n in range(5)]
    await app.ask("hola", who=BEN)
    await app.ask("otra vez", ids[1])
    listed: list[SessionId] = []
    after: SessionCursor | None = None
    sizes = []
    while True:
        page = await app.sessions.page(ANA, limit=2, after=after)
        listed += [session.id for session in page.sessions]
        sizes.append(len(page.sessions))
        if (after := page.next) is None:
            break
    assert listed == [ids[n] for n in (1, 4, 3, 2, 0)]
    assert sizes == [2, 2, 1]


async def test_the_last_page_that_is_full_has_no_next(app: ChatApp) -> None:
    for _ in range(4):
        await app.sessions.begin(ANA)
    first = await app.sessions.page(ANA, limit=2, after=None)
    second = await app.sessions.page(ANA, limit=2, after=first.next)
    assert (len(second.sessions), second.next) == (2, None)
    nothing = await app.sessions.page(BEN, limit=2, after=None)
    assert (list(nothing.sessions), nothing.next) == ([], None)


async def test_a_session_is_named_after_its_first_prompt(app: ChatApp) -> None:
    session_id = (await app.ask("¿" + "x" * 80)).session_id
    await app.ask("otra cosa", session_id)
    found = await app.sessions.read(ANA, session_id, limit=1, before=None)
    assert found.session.title == "¿" + "x" * 59


async def test_messages_are_read_from_the_newest_backwards(app: ChatApp) -> None:
    session_id = await app.filled(turns=5)

    async def seqs(limit: int, before: int | None) -> list[int]:
        found = await app.sessions.read(ANA, session_id, limit=limit, before=before)
        return [message.seq for message in found.messages]

    assert await seqs(4, None) == [7, 8, 9, 10]
    assert await seqs(4, 7) == [3, 4, 5, 6]
    assert await seqs(4, 3) == [1, 2]
    assert await seqs(4, 1) == []


# --- reset and delete ------------------------------------------------------------------------


@pytest.fixture
def pages_of_50(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcripts, "EXPORTED_AT_ONCE", 50)


@pytest.mark.usefixtures("pages_of_50")
async def test_an_export_has_every_message_once_in_small_pages(app: ChatApp) -> None:
    for turns in (0, 1, 25, 26, 60):
        session_id = await app.filled(turns=turns)
        found = await app.sessions.export(ANA, session_id)
        pages = [page async for page in found.pages]
        assert [m.seq for page in pages for m in page] == list(range(1, 2 * turns + 1))
        assert max(map(len, pages), default=0) <= 50


@pytest.mark.usefixtures("pages_of_50")
async def test_an_export_shows_the_session_as_it_was_at_the_beginning(app: ChatApp) -> None:
    session_id = await app.filled(turns=30)
    found = await app.sessions.export(ANA, session_id)
    await app.add_turns(session_id, 1)
    assert (await app.sessions.export(ANA, session_id)).session.message_count == 62
    assert [m.seq async for page in found.pages for m in page][-1] == found.session.last_seq == 60


@pytest.mark.usefixtures("pages_of_50")
@pytest.mark.parametrize(("change", "error"), [("reset", Conflict), ("delete", NotFound)])
async def test_an_export_of_which_the_rest_is_gone_fails(
    app: ChatApp, change: str, error: type[Exception]
) -> None:
    session_id = await app.filled(turns=30)
    found = await app.sessions.export(ANA, session_id)
    await CHANGES[change](app, ANA, session_id)
    with pytest.raises(error):
        [page async for page in found.pages]


async def test_a_reset_empties_the_session_and_keeps_its_id(app: ChatApp) -> None:
    session_id = (await app.ask("hola")).session_id
    await app.memory_editor.put_summary(ANA, session_id, "S.")
    await app.memory_editor.put_structured(ANA, session_id, Update(facts=("a",)))
    emptied = await app.sessions.reset(ANA, session_id)
    assert (emptied.session.id, emptied.session.title) == (session_id, "")
    assert (emptied.session.message_count, list(emptied.messages)) == (0, [])
    assert emptied.memory == Memory()
    assert emptied == await app.sessions.read(ANA, session_id, limit=50, before=None)
    assert await app.is_free(session_id)


async def test_numbers_are_not_used_again_after_a_reset(app: ChatApp) -> None:
    session_id = (await app.ask("uno")).session_id
    await app.sessions.reset(ANA, session_id)
    await app.ask("dos", session_id)
    assert [m.seq for m in await app.messages(session_id)] == [3, 4]
    assert [m.text for m in app.asked()[-1].messages] == ["dos"]


async def test_a_deleted_session_is_gone_and_cannot_be_deleted_again(app: ChatApp) -> None:
    session_id = (await app.ask("hola")).session_id
    other = (await app.ask("hola")).session_id
    await app.sessions.delete(ANA, session_id)
    for call in CALLS.values():
        with pytest.raises(NotFound):
            await call(app, ANA, session_id)
    page = await app.sessions.page(ANA, limit=5, after=None)
    assert [session.id for session in page.sessions] == [other]


@pytest.mark.parametrize("call", CHANGES.values(), ids=CHANGES)
async def test_no_change_is_made_while_a_turn_runs(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BUSY_WAIT_S", 0.0)
    app = ChatApp([Script(pieces=("Half",), pause=never)])
    session_id = await app.sessions.begin(ANA)
    events = app.events("hola", session_id)
    while not isinstance(await anext(events), Delta):
        pass
    with pytest.raises(SessionBusy):
        await call(app, ANA, session_id)
    for look in READS.values():
        await look(app, ANA, session_id)
    assert [m.content for m in await app.messages(session_id)] == ["hola"]
    await events.aclose()
    await call(app, ANA, session_id)


# --- memory by hand --------------------------------------------------------------------------


async def test_manual_memory_replaces_the_previous_memory(app: ChatApp) -> None:
    session_id = await app.filled(turns=1)
    first = Update(profile={"name": "Ana", "city": "Lima"}, facts=("a", "b"))
    await app.memory_editor.put_structured(ANA, session_id, first)
    await app.memory_editor.put_structured(ANA, session_id, Update(profile={"city": "Cusco"}))
    memory = (await app.memory_editor.read(ANA, session_id)).memory
    assert {key: item.value for key, item in memory.structured.profile.items()} == {"city": "Cusco"}
    assert memory.structured.facts == ()
    assert memory.extracted_to == 2


async def test_an_empty_update_forgets_the_memory_and_an_empty_text_the_summary(
    app: ChatApp,
) -> None:
    session_id = await app.filled(turns=15)
    await app.steps.summarize(ANA.owner, session_id)
    await app.memory_editor.put_structured(ANA, session_id, Update(facts=("a",)))
    await app.memory_editor.put_structured(ANA, session_id, Update())
    await app.memory_editor.put_summary(ANA, session_id, "")
    memory = await app.memory(session_id)
    assert (memory.summary, memory.structured) == ("", StructuredMemory())
    assert memory.summarized_to == 18
    assert len(await app.messages(session_id)) == 30


async def test_summary_and_structured_memory_are_replaced_each_by_itself(app: ChatApp) -> None:
    session_id = await app.filled(turns=1)
    await app.memory_editor.put_summary(ANA, session_id, " S. ")
    await app.memory_editor.put_structured(ANA, session_id, Update(facts=("a",)))
    memory = await app.memory(session_id)
    assert (memory.summary, [fact.value for fact in memory.structured.facts]) == ("S.", ["a"])
    assert memory.version == 2


async def test_memory_item_records_that_a_person_has_written_it(app: ChatApp) -> None:
    session_id = await app.filled(turns=1)
    found = await app.memory_editor.put_structured(ANA, session_id, Update(facts=("a",)))
    assert [(each.text, each.origin) for each in found.items] == [("a", ItemOrigin.EDITED)]
    assert found.items[0].sources == (Source(session_id=session_id, seq=2),)


@pytest.mark.parametrize(
    "update",
    [
        Update(profile={"pin": "4711"}),
        Update(preferences={"tone": "my password is hunter2"}),
        Update(facts=("card 4111 1111 1111 1111",)),
        Update(todos=("use GB82 WEST 1234 5698 7654 32",)),
    ],
)
async def test_secret_is_not_stored_by_hand_either(app: ChatApp, update: Update) -> None:
    session_id = await app.filled(turns=1)
    with pytest.raises(InvalidInput, match="not stored"):
        await app.memory_editor.put_structured(ANA, session_id, update)
    assert await app.memory(session_id) == Memory()


async def test_memory_over_a_limit_changes_nothing(app: ChatApp) -> None:
    session_id = await app.filled(turns=1)
    with pytest.raises(InvalidInput):
        await app.memory_editor.put_summary(ANA, session_id, "s" * 4001)
    with pytest.raises(InvalidInput):
        await app.memory_editor.put_structured(ANA, session_id, Update(facts=("f" * 501,)))
    assert await app.memory(session_id) == Memory()
    assert await app.is_free(session_id)


async def test_manual_correction_wins_over_a_faster_consolidation(
    app: ChatApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await app.filled(turns=1)
    sessions = await app.storage.transact(lambda tx: tx.sessions)
    put, refusals = sessions.put_memory, iter(range(3))

    def put_or_lose(*args: object, **named: object) -> bool:
        if next(refusals, None) is not None:
            return False
        return put(*args, **named)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(sessions, "put_memory", put_or_lose)
    await app.memory_editor.put_summary(ANA, session_id, "Mine.")
    assert (await app.memory(session_id)).summary == "Mine."


# --- many sessions ---------------------------------------------------------------------------


async def test_listings_of_one_owner_run_one_at_a_time_and_do_not_delay_other_owners(
    app: ChatApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing 20,000 sessions is slow for a store of files."""
    listing: list[Owner] = []
    go_on = asyncio.Event()
    transact = app.storage.transact

    async def slowly(work: Callable[[Transaction], object]) -> object:
        found = await transact(work)
        listing.append(ANA.owner)
        await go_on.wait()
        return found

    monkeypatch.setattr(app.storage, "transact", slowly)
    lists = [asyncio.create_task(app.sessions.page(ANA, limit=5, after=None)) for _ in range(8)]
    await eventually(lambda: listing)
    bens = asyncio.create_task(app.sessions.page(BEN, limit=5, after=None))
    await eventually(lambda: len(listing) == 2)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(listing) == 2, "of Ana one"
    go_on.set()
    await asyncio.gather(*lists, bens)
    assert len(listing) == 9
