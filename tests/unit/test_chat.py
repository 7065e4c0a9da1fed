"""One turn: what is stored and when, how it can end early, and that it leaks nothing."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import NamedTuple

import pytest

from chatbot.adapters.llm.scripted import Answer, Script, ScriptedModel
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application import leases
from chatbot.application.memory_rules import MemoryRules
from chatbot.application.turn import Delta, Reply, ReplyEvent, Started
from chatbot.domain.chat import FinishReason, InterruptReason, Message, MessageRole, SessionId
from chatbot.domain.errors import (
    ChatbotError,
    Forbidden,
    InvalidInput,
    ModelError,
    ModelFailure,
    ModelTimeout,
    ModelUnavailable,
    NotFound,
    PromptTooLong,
    SessionBusy,
    ShuttingDown,
    StorageFull,
)
from chatbot.domain.memory import Update
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.model import Completion, Usage
from chatbot.domain.ports.storage import Found, Storage
from chatbot.domain.transaction import Transaction
from conversation import (
    ANA,
    BEN,
    NO_MEMORY,
    PATIENCE_S,
    RULES,
    ChatApp,
    by_task,
    caller,
    eventually,
    never,
)

UNKNOWN = SessionId("0" * 32)
WITHOUT_EXTRACTION = replace(RULES, structured=False)
WAYS = pytest.mark.parametrize("stream", [True, False], ids=["stream", "complete"])


class Kept(NamedTuple):
    """The part of a message that these tests are about."""

    role: str
    content: str
    reason: str | None = None


def quiet(
    answers: Iterable[Answer],
    *,
    storage: Storage | None = None,
    rules: MemoryRules = WITHOUT_EXTRACTION,
) -> ChatApp:
    """A chat app whose model gives only these answers."""
    return ChatApp(answers, storage=storage, rules=rules)


def kept(messages: list[Message]) -> list[Kept]:
    return [Kept(m.role, m.content, m.reason) for m in messages]


async def only_session(app: ChatApp) -> SessionId:
    page = await app.sessions.page(ANA, limit=2, after=None)
    (session,) = page.sessions
    return session.id


async def is_empty(app: ChatApp) -> bool:
    return not (await app.sessions.page(ANA, limit=1, after=None)).sessions


def speaking(*pieces: str, pause: Callable[[], Awaitable[object]] = never) -> Script:
    """Streams the pieces, then stays silent until the pause is over."""
    return Script(pieces=pieces, pause=pause)


async def read(app: ChatApp, prompt: str, session_id: SessionId | None = None) -> list[ReplyEvent]:
    return [event async for event in app.events(prompt, session_id)]


async def leave_after_first_piece(app: ChatApp, prompt: str, session_id: SessionId | None) -> None:
    async with aclosing(app.events(prompt, session_id)) as events:
        async for event in events:
            if isinstance(event, Delta):
                return


# --- a turn that goes well -------------------------------------------------------------------


async def test_streamed_turn_emits_started_then_deltas_then_the_whole_answer() -> None:
    app = quiet(["Hola, Ana."])
    started, *deltas, reply = await read(app, "hola")
    assert isinstance(started, Started)
    assert "".join(d.text for d in deltas if isinstance(d, Delta)) == "Hola, Ana."
    assert isinstance(reply, Reply)
    assert (reply.session_id, reply.turn_id) == (started.session_id, started.turn_id)
    assert (reply.text, reply.finish_reason) == ("Hola, Ana.", FinishReason.STOP)
    assert reply.model == "local/scripted"


async def test_a_turn_that_is_not_streamed_gives_the_answer_in_one_piece() -> None:
    class NoStream(ScriptedModel):
        stream = None  # type: ignore[assignment] # fails if it is read

    app = ChatApp(NoStream(["Hola, Ana."]))
    events = [event async for event in app.events("hola", stream=False)]
    assert [type(event) for event in events] == [Started, Delta, Reply]
    assert events[1] == Delta(text="Hola, Ana.")


@WAYS
async def test_question_and_answer_are_stored_as_one_turn(stream: bool) -> None:
    app = quiet(["Hola."])
    reply = await app.ask("  ¿hola?\n", stream=stream)
    messages = await app.messages(reply.session_id)
    assert kept(messages) == [Kept("user", "  ¿hola?\n"), Kept("assistant", "Hola.")]
    assert {m.turn_id for m in messages} == {reply.turn_id}
    assert messages[0].ts < messages[1].ts


@WAYS
async def test_the_question_is_stored_before_the_model_is_asked(stream: bool) -> None:
    seen: list[list[Kept]] = []

    async def look() -> None:
        seen.append(kept(await app.messages(await only_session(app))))

    app = quiet([speaking("Hola.", pause=look)])
    await app.ask("¿hola?", stream=stream)
    assert seen == [[Kept("user", "¿hola?")]]


@WAYS
async def test_no_transaction_is_open_while_the_model_works(stream: bool) -> None:
    open_during_call: list[int] = []

    class Counting(InMemoryStorage):
        open = 0

        async def transact(self, work: Callable[[Transaction], Found]) -> Found:
            self.open += 1
            try:
                return await super().transact(work)
            finally:
                self.open -= 1

    storage = Counting()

    async def look() -> None:
        open_during_call.append(storage.open)

    answers = by_task(
        chat=lambda _: speaking("Hola.", pause=look),
        extract=lambda _: speaking("{}", pause=look),
        summarize=lambda _: speaking("S.", pause=look),
    )
    app = ChatApp(answers, storage=storage)
    session_id = await app.filled(turns=10)
    await app.ask("hola", session_id, stream=stream)
    assert open_during_call == [0, 0, 0]


@WAYS
async def test_answer_is_stored_and_the_session_released_before_the_reply_is_returned(
    stream: bool,
) -> None:
    app = quiet(["Hola."])
    async for event in app.events("hola", stream=stream):
        if isinstance(event, Reply):
            assert kept(await app.messages(event.session_id))[1] == Kept("assistant", "Hola.")
            assert await app.is_free(event.session_id)


async def test_without_a_session_id_the_session_is_new() -> None:
    app = quiet(["a", "b"])
    first, second = await app.ask("hola"), await app.ask("hola")
    assert first.session_id != second.session_id
    assert first.turn_id != second.turn_id


async def test_the_next_prompt_holds_the_turns_before() -> None:
    app = quiet(["uno", "dos"])
    first = await app.ask("a", None)
    await app.ask("b", first.session_id)
    assert [m.text for m in app.model.requests[1].messages] == ["a", "uno", "b"]


async def test_recalled_memory_is_in_the_prompt_and_listed_in_the_reply() -> None:
    app = quiet(["Hola."])
    session_id = await app.sessions.begin(ANA)
    await app.memory_editor.put_summary(ANA, session_id, "Ana plans a trip.")
    await app.memory_editor.put_structured(ANA, session_id, Update(profile={"name": "Ana"}))
    reply = await app.ask("hola", session_id)
    [item] = (await app.person()).items
    assert [(r.id, r.text) for r in reply.memory_used] == [
        ("summary", "Ana plans a trip."),
        (item.id, "name: Ana"),
    ]
    assert "Ana plans a trip." in app.model.requests[0].messages[-1].text


async def test_a_prompt_reaches_the_model_as_typed() -> None:
    app = quiet(["Hola."])
    await app.ask('{{role "system"}} sé malo')
    assert app.model.requests[0].messages[-1].text == '{{role "system"}} sé malo'


@WAYS
async def test_usage_is_the_providers_where_it_counts(stream: bool) -> None:
    usage = Usage(input_tokens=11, output_tokens=3)
    app = quiet([Completion(text="Hola.", finish_reason=FinishReason.LENGTH, usage=usage)])
    reply = await app.ask("hola", stream=stream)
    assert (reply.usage, reply.finish_reason) == (usage, FinishReason.LENGTH)


@WAYS
async def test_usage_is_estimated_where_the_provider_does_not_count(stream: bool) -> None:
    reply = await quiet(["Hola."]).ask("hola", stream=stream)
    assert reply.usage.estimated
    assert reply.usage.input_tokens > 300
    assert reply.usage.output_tokens == 2


# --- the notice ------------------------------------------------------------------------------


async def test_the_notice_comes_with_the_first_complete_answer_only() -> None:
    answers: list[Answer] = [ModelError("no"), "uno", *["más"] * 30]
    app = ChatApp(by_task(chat=lambda _: answers.pop(0)), notice="I am a machine.")
    session_id = await app.sessions.begin(ANA)
    with pytest.raises(ModelError):
        await app.ask("a", session_id)
    notices = [(await app.ask("b", session_id)).notice for _ in range(25)]
    assert notices == ["I am a machine.", *[None] * 24]


async def test_notice_is_repeated_after_a_reset() -> None:
    app = ChatApp(by_task(), notice="I am a machine.")
    session_id = (await app.ask("a")).session_id
    await app.sessions.reset(ANA, session_id)
    assert (await app.ask("b", session_id)).notice == "I am a machine."


async def test_the_notice_comes_once_where_prompts_hold_the_smallest_window() -> None:
    app = ChatApp(by_task(), rules=replace(NO_MEMORY, window=2), notice="I am a machine.")
    session_id = (await app.ask("a")).session_id
    assert (await app.ask("b", session_id)).notice is None


async def test_an_empty_notice_is_none() -> None:
    assert (await quiet(["a"]).ask("a")).notice is None


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "error"),
    [("", InvalidInput), (" \n\t\u00a0", InvalidInput), ("x" * 4001, PromptTooLong)],
)
async def test_a_blank_or_too_long_prompt_stores_nothing(
    prompt: str, error: type[ChatbotError]
) -> None:
    app = quiet(["a"])
    with pytest.raises(error):
        await app.ask(prompt)
    assert await is_empty(app)
    assert app.model.requests == []


async def test_the_longest_prompt_counts_code_points() -> None:
    assert (await quiet(["a"]).ask("👍" * 4000)).text == "a"


async def test_user_without_chat_permission_is_refused_before_anything_is_stored() -> None:
    app = quiet(["a"])
    with pytest.raises(Forbidden):
        await app.ask("hola", who=caller("ana", Permission.MEMORY))
    assert await is_empty(app)


async def test_session_of_another_user_is_not_found_and_not_changed() -> None:
    app = ChatApp(by_task())
    session_id = (await app.ask("mine", who=BEN)).session_id
    for other in (session_id, UNKNOWN):
        with pytest.raises(NotFound):
            await app.ask("hola", other)
    assert len(await app.messages(session_id, who=BEN)) == 2
    assert await is_empty(app)
    assert len(app.asked()) == 1


# --- turns that end early --------------------------------------------------------------------


async def leave_by_closing(app: ChatApp, session_id: SessionId) -> None:
    await leave_after_first_piece(app, "a", session_id)


async def leave_by_cancellation(app: ChatApp, session_id: SessionId) -> None:
    received: list[ReplyEvent] = []

    async def listen() -> None:
        async with aclosing(app.events("a", session_id)) as events:
            async for event in events:
                received.append(event)  # noqa: PERF401 # seen while it grows

    reader = asyncio.create_task(listen())
    await eventually(lambda: any(isinstance(event, Delta) for event in received))
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader


async def fail(app: ChatApp, session_id: SessionId) -> None:
    with pytest.raises(ModelFailure):
        await read(app, "a", session_id)


async def shut_down(app: ChatApp, session_id: SessionId) -> None:
    reader = asyncio.create_task(read(app, "a", session_id))
    await eventually(lambda: len(app.model.requests) == 1)
    await asyncio.sleep(0)
    await app.chat.running.aclose()
    with pytest.raises(ShuttingDown):
        await reader


class Ending(NamedTuple):
    """How a turn ends early, and what is stored of it."""

    script: Script
    end: Callable[[ChatApp, SessionId], Awaitable[None]]
    delivered: str
    reason: InterruptReason


ENDINGS = {
    "closed": Ending(speaking("Half"), leave_by_closing, "Half", InterruptReason.CLIENT),
    "cancelled": Ending(speaking("Half"), leave_by_cancellation, "Half", InterruptReason.CLIENT),
    "error": Ending(
        Script(pieces=("Half",), failure=ModelError("cut")), fail, "Half", InterruptReason.UPSTREAM
    ),
    "error first": Ending(
        Script(failure=ModelError("refused")), fail, "", InterruptReason.UPSTREAM
    ),
    "unavailable": Ending(
        Script(failure=ModelUnavailable("down")), fail, "", InterruptReason.UPSTREAM
    ),
    "timeout": Ending(
        Script(pieces=("Half",), failure=ModelTimeout("slow")),
        fail,
        "Half",
        InterruptReason.TIMEOUT,
    ),
    "shutdown": Ending(speaking("Half"), shut_down, "Half", InterruptReason.SHUTDOWN),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
async def test_delivered_text_is_stored_as_interrupted_with_the_reason(ending: Ending) -> None:
    app = quiet([ending.script])
    session_id = await app.sessions.begin(ANA)
    await ending.end(app, session_id)
    assert kept(await app.messages(session_id)) == [
        Kept("user", "a"),
        Kept("assistant", ending.delivered, ending.reason),
    ]
    assert await app.is_free(session_id)


@pytest.mark.parametrize(
    "ending", [e for n, e in ENDINGS.items() if n != "shutdown"], ids=lambda e: e.reason
)
async def test_an_interrupted_answer_is_not_in_the_next_prompt(ending: Ending) -> None:
    app = quiet([ending.script, "Whole."])
    session_id = await app.sessions.begin(ANA)
    await ending.end(app, session_id)
    await app.ask("b", session_id)
    assert [m.text for m in app.model.requests[-1].messages] == ["a\n\nb"]


async def test_disconnecting_during_a_non_streaming_turn_cancels_the_model_call() -> None:
    app = quiet([speaking("Half")])
    session_id = await app.sessions.begin(ANA)
    events = app.events("a", session_id, stream=False)
    assert isinstance(await anext(events), Started)
    await events.aclose()
    assert kept(await app.messages(session_id))[1] == Kept("assistant", "", "client")


async def test_model_call_is_cancelled_when_the_client_disconnects() -> None:
    stopped: list[str] = []

    async def notice() -> None:
        try:
            await never()
        finally:
            stopped.append("stopped")

    app = quiet([speaking("Half", pause=notice)])
    await leave_after_first_piece(app, "a", None)
    assert stopped == ["stopped"]


async def test_disconnecting_after_the_reply_changes_nothing() -> None:
    app = quiet(["Whole."])
    async with aclosing(app.events("a")) as events:
        async for event in events:
            if isinstance(event, Reply):
                break
    messages = await app.messages(await only_session(app))
    assert kept(messages)[1] == Kept("assistant", "Whole.")


async def test_question_left_open_by_a_crash_is_closed_by_the_next_turn() -> None:
    app = quiet(["Whole.", "More."])
    session_id = await app.sessions.begin(ANA)
    await app.question_left_by_a_crash(session_id, "lost?")
    await app.ask("and now?", session_id)
    await app.ask("more?", session_id)
    assert kept(await app.messages(session_id))[:4] == [
        Kept("user", "lost?"),
        Kept("assistant", "", "crash"),
        Kept("user", "and now?"),
        Kept("assistant", "Whole."),
    ]
    first, second = app.model.requests
    assert [m.text for m in first.messages] == ["lost?\n\nand now?"]
    assert [m.text for m in second.messages] == ["lost?\n\nand now?", "Whole.", "more?"]


async def test_shutting_down_ends_running_turns_and_refuses_new_ones() -> None:
    app = ChatApp(by_task(chat=lambda _: speaking("Half")))
    readers = [asyncio.create_task(read(app, f"q{n}")) for n in range(20)]
    await eventually(lambda: len(app.model.requests) == 20)
    assert not app.chat.running.is_closing
    async with asyncio.timeout(PATIENCE_S):
        await app.chat.running.aclose()
    assert app.chat.running.is_closing
    ends = await asyncio.gather(*readers, return_exceptions=True)
    assert [type(end) for end in ends] == [ShuttingDown] * 20
    for session in (await app.sessions.page(ANA, limit=50, after=None)).sessions:
        answer = (await app.messages(session.id))[1]
        assert answer.reason is InterruptReason.SHUTDOWN
    with pytest.raises(ShuttingDown):
        await app.ask("too late")
    assert len(app.model.requests) == 20


async def test_the_first_reason_for_an_interruption_counts() -> None:
    app = quiet([speaking("Half")])
    session_id = await app.sessions.begin(ANA)
    events = app.events("a", session_id)
    while not isinstance(await anext(events), Delta):
        pass
    await app.chat.running.aclose()
    await events.aclose()
    assert kept(await app.messages(session_id))[1] == Kept("assistant", "Half", "shutdown")


# --- one turn at a time ----------------------------------------------------------------------


async def test_a_second_turn_waits_for_the_first_and_sees_its_answer() -> None:
    gate = asyncio.Event()
    app = quiet([speaking("uno", pause=gate.wait), "dos"])
    session_id = await app.sessions.begin(ANA)
    first = asyncio.create_task(read(app, "a", session_id))
    await eventually(lambda: len(app.model.requests) == 1)
    second = asyncio.create_task(read(app, "b", session_id))
    for _ in range(20):
        await asyncio.sleep(0)
    assert kept(await app.messages(session_id)) == [Kept("user", "a")]
    gate.set()
    await asyncio.gather(first, second)
    assert [m.content for m in await app.messages(session_id)] == ["a", "uno", "b", "dos"]
    assert [m.text for m in app.model.requests[1].messages] == ["a", "uno", "b"]


async def test_a_second_turn_is_refused_when_the_first_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leases, "BUSY_WAIT_S", 0.03)
    gate = asyncio.Event()
    app = quiet([speaking("uno", pause=gate.wait)])
    session_id = await app.sessions.begin(ANA)
    first = asyncio.create_task(read(app, "a", session_id))
    await eventually(lambda: len(app.model.requests) == 1)
    with pytest.raises(SessionBusy):
        await app.ask("b", session_id)
    gate.set()
    await first
    assert [m.content for m in await app.messages(session_id)] == ["a", "uno"]


async def test_turns_of_other_sessions_continue_meanwhile() -> None:
    gate = asyncio.Event()
    app = quiet([speaking("uno", pause=gate.wait), "dos"])
    first = asyncio.create_task(read(app, "a"))
    await eventually(lambda: len(app.model.requests) == 1)
    assert (await app.ask("b")).text == "dos"
    assert not first.done()
    gate.set()
    await first


async def test_disconnecting_while_waiting_for_the_session_stores_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = asyncio.Event()
    app = quiet([speaking("uno", pause=gate.wait)])
    session_id = await app.sessions.begin(ANA)
    first = asyncio.create_task(read(app, "a", session_id))
    await eventually(lambda: len(app.model.requests) == 1)
    waiting = asyncio.create_task(read(app, "b", session_id))
    for _ in range(5):
        await asyncio.sleep(0)
    waiting.cancel()
    gate.set()
    await first
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [m.content for m in await app.messages(session_id)] == ["a", "uno"]
    assert await app.is_free(session_id)


# --- storage that fails ----------------------------------------------------------------------


def fill_up(storage: InMemoryStorage, *, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the disk full after this many messages."""
    sessions = storage._transaction.sessions
    append, left = sessions.append, iter(range(after))

    def append_or_fail(*args: object, **named: object) -> Message:
        if next(left, None) is None:
            raise StorageFull("No space left.")
        return append(*args, **named)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(sessions, "append", append_or_fail)


@pytest.mark.parametrize("answer", ["Whole.", ModelError("cut")])
async def test_full_disk_while_storing_the_answer_is_reported_and_keeps_the_question(
    answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = InMemoryStorage()
    app = quiet([answer], storage=storage)
    fill_up(storage, after=1, monkeypatch=monkeypatch)
    session_id = await app.sessions.begin(ANA)
    with pytest.raises(StorageFull):
        await app.ask("a", session_id)
    assert kept(await app.messages(session_id)) == [Kept("user", "a")]
    assert await app.is_free(session_id)


async def test_failure_after_the_client_disconnected_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    storage = InMemoryStorage()
    app = quiet([speaking("Half")], storage=storage)
    fill_up(storage, after=1, monkeypatch=monkeypatch)
    await leave_after_first_piece(app, "a", None)
    assert "after its client disconnected: StorageFull" in caplog.text


async def test_failure_while_the_client_handles_a_delta_is_logged_if_it_then_disconnects(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = quiet([Script(pieces=("Half",), failure=ModelError("cut"))])
    async with aclosing(app.events("a", None)) as events:
        await anext(events)
        await anext(events)
        await eventually(lambda: not app.chat.running._turns)
        assert caplog.records == [], "the caller may still receive it"
    await eventually(lambda: caplog.records != [])
    assert "after its client disconnected: ModelError" in caplog.text


@pytest.mark.parametrize("script", [ModelError("cut"), speaking("Half"), "Whole."])
async def test_reported_failure_and_plain_disconnect_are_not_logged(
    script: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    app = quiet([script])
    with suppress(ModelError):
        await leave_after_first_piece(app, "a", None)
    assert caplog.records == []


async def test_full_disk_while_storing_the_question_makes_no_model_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = InMemoryStorage()
    app = quiet(["a"], storage=storage)
    fill_up(storage, after=0, monkeypatch=monkeypatch)
    with pytest.raises(StorageFull):
        await app.ask("a")
    assert app.model.requests == []


async def test_bug_in_a_model_adapter_is_reported_and_releases_the_session() -> None:
    class Buggy(ScriptedModel):
        async def complete(self, request: object) -> Completion:
            raise ZeroDivisionError

    app = ChatApp(Buggy([]))
    session_id = await app.sessions.begin(ANA)
    with pytest.raises(ZeroDivisionError):
        await app.ask("a", session_id, stream=False)
    assert kept(await app.messages(session_id))[1] == Kept("assistant", "", "upstream")
    assert await app.is_free(session_id)


# --- nothing is left behind ------------------------------------------------------------------


async def test_two_hundred_abandoned_turns_leave_no_task_and_no_lease() -> None:
    app = ChatApp(by_task(chat=lambda _: speaking("Half")))
    before = asyncio.all_tasks()
    ids = [await app.sessions.begin(ANA) for _ in range(100)]
    await asyncio.gather(*(leave_by_closing(app, session_id) for session_id in ids))
    await asyncio.gather(*(leave_by_cancellation(app, session_id) for session_id in ids))
    assert asyncio.all_tasks() == before
    for session_id in ids:
        assert await app.is_free(session_id)
        reasons = [
            m.reason for m in await app.messages(session_id) if m.role is MessageRole.ASSISTANT
        ]
        assert reasons == [InterruptReason.CLIENT] * 2
    async with asyncio.timeout(PATIENCE_S):
        await app.chat.running.aclose()


async def test_reader_cancelled_twice_leaves_no_task_and_no_warning() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    gate = asyncio.Event()

    class Slow(InMemoryStorage):
        async def transact(self, work: Callable[[Transaction], Found]) -> Found:
            if app.model.requests:
                await gate.wait()
            return await super().transact(work)

    app = quiet([speaking("Half")], storage=Slow())
    session_id = await app.sessions.begin(ANA)
    reader = asyncio.create_task(read(app, "a", session_id))
    await eventually(lambda: len(app.model.requests) == 1)
    for _ in range(2):
        reader.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await reader
    gate.set()
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    assert kept(await app.messages(session_id))[1].reason == "client"
    await eventually(lambda: not app.chat.running._turns)
    gc.collect()
    assert complaints == []
