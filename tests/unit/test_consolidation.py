"""Summaries and structured memory: when they are made, from what, and how they can fail."""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chatbot.adapters.llm.scripted import Answer, Script
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.turn import Reply
from chatbot.domain.chat import MessageRange, Session, SessionId, SessionView
from chatbot.domain.errors import ChatbotError, ModelError, ModelUnavailable
from chatbot.domain.memory import Memory, MemoryItem, Origin, Setback, Update
from chatbot.domain.ports.model import ModelRequest, Task
from chatbot.domain.ports.storage import Found
from chatbot.domain.transaction import Transaction
from conversation import ANA, BEN, PATIENCE_S, RULES, ChatApp, by_task, eventually, never

OWNER = ANA.owner
SUMMARIES = replace(RULES, structured=False)
EXTRACTIONS = replace(RULES, threshold=0)
NEW = SessionId("0" * 32)
LATER = datetime(2099, 1, 1, tzinfo=UTC)
FAILED_AT_22 = Setback(failures=1, retry_at=24)


def data(request: ModelRequest) -> dict[str, object]:
    """The data block of a request."""
    found = re.fullmatch(r"<data-(\w+)>\n(.*)\n</data-\1>", request.messages[0].text)
    assert found is not None
    content = json.loads(found[2])
    assert isinstance(content, dict)
    return content


def session_with(last_seq: int, session_id: SessionId = NEW) -> Session:
    return Session(
        id=session_id,
        owner=OWNER,
        created_at=LATER,
        updated_at=LATER,
        message_count=last_seq,
        last_seq=last_seq,
    )


def schedule(app: ChatApp, session_id: SessionId, memory: Memory, last_seq: int) -> None:
    """As after a turn whose messages are not known any more."""
    session = session_with(last_seq, session_id)
    seen = SessionView(session=session, memory=memory, messages=())
    app.consolidation.schedule(seen, asked_at=LATER)


async def seen_after_a_turn(app: ChatApp, session_id: SessionId) -> SessionView:
    """The session as a turn that has just ended knows it."""
    return await app.storage.transact(
        lambda tx: tx.sessions.load(OWNER, session_id, lambda *_: MessageRange(limit=100))
    )


class Counting(InMemoryStorage):
    """Counts the transactions."""

    count = 0

    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        self.count += 1
        return await super().transact(work)


def texts_in(request: ModelRequest) -> list[str]:
    """The texts of the messages in a request."""
    messages = data(request)["messages"]
    assert isinstance(messages, list)
    return [message["text"] for message in messages]


def texts(first: int, last: int) -> list[str]:
    """The messages of `ChatApp.filled` with these numbers."""
    return [f"{'question' if n % 2 else 'answer'} {n}" for n in range(first, last + 1)]


def numbered() -> Callable[[ModelRequest], Answer]:
    numbers = iter(range(1, 100))
    return lambda _: f"Summary {next(numbers)}."


async def nothing_is_lost(app: ChatApp, session_id: SessionId, count: int) -> None:
    assert [m.content for m in await app.messages(session_id)] == texts(1, count)


# --- when ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("covered", "last", "due"), [(0, 20, False), (0, 21, True), (10, 30, False), (10, 32, True)]
)
def test_a_summary_is_due_when_more_than_the_threshold_is_outside_it(
    covered: int, last: int, due: bool
) -> None:
    assert RULES.summary_is_due(session_with(last), Memory(summarized_to=covered)) is due
    assert not replace(RULES, threshold=0).summary_is_due(session_with(last), Memory())


@pytest.mark.parametrize(
    ("covered", "last", "due"),
    [(0, 0, False), (0, 2, True), (2, 12, False), (2, 14, True), (12, 22, False), (12, 24, True)],
)
def test_an_extraction_is_due_after_the_first_turn_and_then_as_often_as_the_setting_says(
    covered: int, last: int, due: bool
) -> None:
    assert RULES.extraction_is_due(session_with(last), Memory(extracted_to=covered)) is due
    assert not replace(RULES, structured=False).extraction_is_due(session_with(last), Memory())


async def test_extraction_and_summary_run_after_the_turns_that_make_them_due() -> None:
    app = ChatApp(by_task())
    session_id = await app.sessions.begin(ANA)
    made = [(0, 0)]
    for _ in range(24):
        await app.ask("hola", session_id)
        made.append((len(app.asked(Task.SUMMARIZE)), len(app.asked(Task.EXTRACT_MEMORY))))
    summaries = [turn for turn in range(1, 25) if made[turn][0] > made[turn - 1][0]]
    extractions = [turn for turn in range(1, 25) if made[turn][1] > made[turn - 1][1]]
    assert summaries == [11, 16, 21]
    assert extractions == [1, 7, 13, 19]


async def test_pending_memory_work_of_one_user_does_not_delay_another() -> None:
    asked: list[asyncio.Event] = []

    def slowly(_: ModelRequest) -> Script:
        asked.append(asyncio.Event())
        return Script(pieces=("{}",), pause=asked[-1].wait)

    app = ChatApp(by_task(extract=slowly), rules=EXTRACTIONS)
    for _ in range(20):
        _ = [event async for event in app.events("hola")]
    *_, reply = [event async for event in app.events("hola", who=BEN)]
    assert isinstance(reply, Reply)
    await eventually(lambda: len(asked) == 4)
    for number in range(2):
        asked[number].set()
        await eventually(lambda: len(asked) > 4 + number)  # noqa: B023 # it is asked at once
    asked[5].set()  # the first is one of Ana's, the second Ben's
    async with asyncio.timeout(PATIENCE_S):
        await app.consolidation.wait_for(BEN.owner, reply.session_id)
    await app.consolidation.aclose()


async def test_a_turn_does_not_wait_for_the_memory() -> None:
    stuck = by_task(extract=lambda _: Script(pause=never))
    app = ChatApp(stuck, rules=replace(EXTRACTIONS, extract_every=1))
    events = [event async for event in app.events("hola")]
    session_id = (await app.sessions.page(ANA, limit=1, after=None)).sessions[0].id
    await eventually(lambda: len(app.asked(Task.EXTRACT_MEMORY)) == 1)
    events = [event async for event in app.events("otra vez", session_id)]
    assert events
    await app.consolidation.aclose()
    assert await app.memory(session_id) == Memory()


# --- the summary -----------------------------------------------------------------------------


async def test_summary_covers_everything_except_the_window() -> None:
    app = ChatApp(by_task(), rules=SUMMARIES)
    session_id = await app.filled(turns=15)
    memory = await app.steps.summarize(OWNER, session_id)
    assert texts_in(app.model.requests[0]) == texts(1, 18)
    assert await app.memory(session_id) == replace(memory, version=1)
    assert (memory.summary, memory.summarized_to) == ("Un resumen.", 18)
    await nothing_is_lost(app, session_id, 30)


async def test_next_summary_continues_from_the_previous_one() -> None:
    app = ChatApp(by_task(summarize=numbered()), rules=SUMMARIES)
    session_id = await app.filled(turns=11)
    await app.steps.summarize(OWNER, session_id)
    await app.add_turns(session_id, 5)
    memory = await app.steps.summarize(OWNER, session_id)
    first, second = app.model.requests
    assert (data(first)["summary"], texts_in(first)) == ("", texts(1, 10))
    assert (data(second)["summary"], texts_in(second)) == ("Summary 1.", texts(11, 20))
    assert (memory.summary, memory.summarized_to) == ("Summary 2.", 20)


async def test_a_summary_that_is_up_to_date_is_not_made_again() -> None:
    app = ChatApp(by_task(), rules=SUMMARIES)
    session_id = await app.filled(turns=15)
    for _ in range(3):
        await app.steps.summarize(OWNER, session_id, at_once=True)
    assert len(app.model.requests) == 1


async def test_summary_that_is_not_due_is_made_only_on_request() -> None:
    app = ChatApp(by_task(), rules=SUMMARIES)
    session_id = await app.filled(turns=8)
    assert await app.steps.summarize(OWNER, session_id) == Memory()
    memory = await app.steps.summarize(OWNER, session_id, at_once=True)
    assert memory.summarized_to == 4


async def test_much_is_summarised_in_batches_of_whole_turns() -> None:
    app = ChatApp(by_task(summarize=numbered()), rules=SUMMARIES)
    session_id = await app.filled(turns=60)
    memory = await app.steps.summarize(OWNER, session_id)
    assert [texts_in(r) for r in app.model.requests] == [
        texts(1, 40),
        texts(41, 80),
        texts(81, 108),
    ]
    assert (memory.summary, memory.summarized_to) == ("Summary 3.", 108)


async def test_long_messages_are_summarised_in_smaller_batches_without_splitting_a_turn() -> None:
    long = "ñ" * 3500  # 7,000 bytes
    app = ChatApp(by_task(chat=lambda _: long), rules=SUMMARIES)
    session_id = await app.sessions.begin(ANA)
    for _ in range(11):
        await app.ask(long, session_id)
    assert [len(texts_in(r)) for r in app.asked(Task.SUMMARIZE)] == [2] * 5
    assert (await app.memory(session_id)).summarized_to == 10


async def test_question_and_answer_stay_together_while_a_turn_runs() -> None:
    app = ChatApp(by_task(), rules=SUMMARIES)
    session_id = await app.filled(turns=12)
    await app.question_left_by_a_crash(session_id, "question 25")
    memory = await app.steps.summarize(OWNER, session_id)
    assert memory.summarized_to == 12
    assert texts_in(app.model.requests[0]) == texts(1, 12)


@pytest.mark.parametrize("window", [2, 3, 11, 12])
async def test_a_window_of_any_size_leaves_whole_turns_alone(window: int) -> None:
    app = ChatApp(by_task(), rules=replace(SUMMARIES, window=window))
    session_id = await app.filled(turns=15)
    memory = await app.steps.summarize(OWNER, session_id)
    assert memory.summarized_to == (30 - window) // 2 * 2


async def test_messages_that_come_while_it_runs_wait_for_the_next_summary() -> None:
    app = ChatApp(
        by_task(summarize=lambda _: Script(pieces=("S.",), pause=one_more)), rules=SUMMARIES
    )
    session_id = await app.filled(turns=11)

    async def one_more() -> None:
        await app.add_turns(session_id, 1)

    memory = await app.steps.summarize(OWNER, session_id)
    assert len(app.model.requests) == 1
    assert memory.summarized_to == 10


async def test_interrupted_answers_are_not_summarised() -> None:
    broken = Script(pieces=("half an ",), failure=ModelError("cut"))
    answers: list[Answer] = [broken, *["fine"] * 20]
    app = ChatApp(by_task(chat=lambda _: answers.pop(0)), rules=SUMMARIES)
    session_id = await app.sessions.begin(ANA)
    with pytest.raises(ModelError):
        await app.ask("first", session_id)
    for _ in range(11):
        await app.ask("more", session_id)
    assert texts_in(app.asked(Task.SUMMARIZE)[0])[:3] == ["first", "more", "fine"]


async def test_summary_is_truncated_to_its_word_and_character_limits() -> None:
    rules = replace(SUMMARIES, summary_max_words=10)
    app = ChatApp(by_task(summarize=lambda _: "\n one  two\n" * 20), rules=rules)
    session_id = await app.filled(turns=11)
    memory = await app.steps.summarize(OWNER, session_id)
    assert memory.summary == "one two one two one two one two one two"
    assert data(app.model.requests[0])["max_words"] == 10

    endless = ChatApp(by_task(summarize=lambda _: "x" * 9000), rules=rules)
    session_id = await endless.filled(turns=11)
    assert len((await endless.steps.summarize(OWNER, session_id)).summary) == 4000


async def test_an_empty_summary_is_a_failure_and_changes_nothing() -> None:
    app = ChatApp(by_task(summarize=lambda _: " \n"), rules=SUMMARIES)
    session_id = await app.filled(turns=11)
    with pytest.raises(ModelError):
        await app.steps.summarize(OWNER, session_id)
    assert await app.memory(session_id) == Memory(version=1, summary_setback=FAILED_AT_22)


# --- structured memory -----------------------------------------------------------------------


async def test_extraction_sees_what_the_user_said_and_no_answer() -> None:
    app = ChatApp(by_task(extract=lambda _: '{"facts": ["asks a question"]}'), rules=EXTRACTIONS)
    session_id = await app.filled(turns=6)
    memory = await app.extract(session_id)
    (request,) = app.model.requests
    assert request.task is Task.EXTRACT_MEMORY
    assert texts_in(request) == [f"question {n}" for n in (1, 3, 5, 7, 9, 11)]
    assert "answer" not in request.messages[0].text
    fact = MemoryItem(value="asks a question", origin=Origin.MODEL, sources=(1, 3, 5, 7, 9, 11))
    assert memory.structured.facts == (fact,)
    assert memory.extracted_to == 12


async def test_recalled_memory_is_not_what_the_user_said() -> None:
    summary = "SUMMARY-CANARY"
    app = ChatApp(by_task(extract=lambda _: '{"facts": ["has a dog"]}'), rules=EXTRACTIONS)
    session_id = await app.sessions.begin(ANA)
    await app.memory_editor.put_summary(ANA, session_id, summary)
    await app.memory_editor.put_structured(ANA, session_id, Update(facts=("FACT-CANARY",)))
    for _ in range(6):
        await app.ask("hola", session_id)
    assert "FACT-CANARY" in app.asked()[0].messages[-1].text
    requests = app.asked(Task.EXTRACT_MEMORY)
    assert [texts_in(request) for request in requests] == [["hola"]]
    assert all(summary not in request.messages[0].text for request in requests)


async def test_model_that_repeats_known_memory_adds_nothing() -> None:
    def echo(request: ModelRequest) -> str:
        return json.dumps(data(request).get("memory", {}))

    app = ChatApp(by_task(extract=echo), rules=EXTRACTIONS)
    session_id = await app.filled(turns=6)
    known = Update(profile={"name": "Ana"}, facts=("has a dog",), todos=("call Ben",))
    await app.memory_editor.put_structured(ANA, session_id, known)
    before = (await app.memory(session_id)).structured
    await app.add_turns(session_id, 6)
    await app.extract(session_id)
    assert (await app.memory(session_id)).structured == before


async def test_extraction_resumes_where_it_stopped_and_is_idempotent() -> None:
    app = ChatApp(by_task(), rules=EXTRACTIONS)
    session_id = await app.filled(turns=6)
    for _ in range(3):
        await app.extract(session_id, at_once=True)
    assert len(app.model.requests) == 1
    await app.add_turns(session_id, 6)
    await app.extract(session_id)
    assert texts_in(app.model.requests[1]) == [f"question {n}" for n in range(13, 24, 2)]


async def test_much_is_extracted_in_batches() -> None:
    found = iter(["question a", "question b", "question c"])
    extract = by_task(extract=lambda _: json.dumps({"facts": [next(found)]}))
    app = ChatApp(extract, rules=EXTRACTIONS)
    session_id = await app.filled(turns=50)
    memory = await app.extract(session_id)
    assert [len(texts_in(request)) for request in app.model.requests] == [20, 20, 10]
    assert [(f.value, f.sources[0]) for f in memory.structured.facts] == [
        ("question a", 1),
        ("question b", 41),
        ("question c", 81),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        '{"facts": ["question a"]}',
        ' \n{"facts": ["question a"]}\n',
        '```json\n{"facts": ["question a"]}\n```',
        '```\n{"facts": ["question a"]}\n```\n',
    ],
)
async def test_an_update_is_read_with_or_without_a_fence(answer: str) -> None:
    app = ChatApp([answer], rules=EXTRACTIONS)
    session_id = await app.filled(turns=6)
    memory = await app.extract(session_id)
    assert [fact.value for fact in memory.structured.facts] == ["question a"]


async def test_an_unreadable_update_is_asked_for_once_more() -> None:
    app = ChatApp(["Sure! Here it is:", '{"facts": ["question a"]}'], rules=EXTRACTIONS)
    session_id = await app.filled(turns=6)
    memory = await app.extract(session_id)
    first, repair = app.model.requests
    assert [fact.value for fact in memory.structured.facts] == ["question a"]
    assert repair.messages[:1] == first.messages
    assert [m.role for m in repair.messages] == ["user", "assistant", "user"]
    assert repair.messages[1].text == "Sure! Here it is:"


@pytest.mark.parametrize("answer", ["no JSON", "[]", "3", '{"facts": [', "[" * 100_000])
async def test_a_batch_whose_update_stays_unreadable_is_skipped_and_logged(
    answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = ChatApp(by_task(extract=lambda _: answer), rules=EXTRACTIONS)
    session_id = await app.filled(turns=6)
    memory = await app.extract(session_id)
    assert len(app.model.requests) == 2
    assert (memory.extracted_to, memory.structured.facts) == (12, ())
    assert "batch skipped" in caplog.text
    assert all(m.text for request in app.model.requests for m in request.messages)


async def test_manual_value_is_protected_until_the_user_says_another() -> None:
    rename = by_task(extract=lambda _: '{"profile": {"name": "Eva"}}')
    app = ChatApp(rename, rules=replace(EXTRACTIONS, extract_every=1))
    session_id = await app.sessions.begin(ANA)
    await app.ask("soy Eva", session_id)
    assert (await app.memory(session_id)).structured.profile["name"].origin is Origin.MODEL
    await app.memory_editor.put_structured(ANA, session_id, Update(profile={"name": "Ana"}))
    await app.ask("¿qué tal?", session_id)
    assert (await app.memory(session_id)).structured.profile["name"].value == "Ana"
    await app.ask("mejor llámame Eva", session_id)
    name = (await app.memory(session_id)).structured.profile["name"]
    assert name == MemoryItem(value="Eva", origin=Origin.MODEL, sources=(5,))


async def test_messages_before_a_manual_correction_are_not_extracted() -> None:
    app = ChatApp(by_task(), rules=EXTRACTIONS)
    session_id = await app.filled(turns=10)
    await app.memory_editor.put_structured(ANA, session_id, Update())
    await app.extract(session_id, at_once=True)
    assert app.model.requests == []


# --- what changes meanwhile ------------------------------------------------------------------

STEPS = ["summarize", "extract"]


def meddling(meanwhile: Callable[[], object]) -> ChatApp:
    """A chat app whose model runs `meanwhile` before it answers."""

    async def pause() -> None:
        result = meanwhile()
        if asyncio.iscoroutine(result):
            await result

    summary = Script(pieces=("A stale summary.",), pause=pause)
    update = Script(pieces=('{"facts": ["stale"]}',), pause=pause)
    return ChatApp(by_task(summarize=lambda _: summary, extract=lambda _: update))


async def run(app: ChatApp, step: str, session_id: SessionId) -> Memory:
    work = app.steps.summarize if step == "summarize" else app.steps.extract
    return await work(OWNER, session_id)


@pytest.mark.parametrize("step", STEPS)
async def test_work_is_dropped_when_the_memory_was_changed_meanwhile(step: str) -> None:
    app = meddling(lambda: app.memory_editor.put_summary(ANA, session_id, "By hand."))
    session_id = await app.filled(turns=11)
    await run(app, step, session_id)
    memory = await app.memory(session_id)
    assert memory == Memory(summary="By hand.", version=1)
    assert len(app.model.requests) == 1


@pytest.mark.parametrize("step", STEPS)
async def test_work_is_dropped_when_the_session_was_reset_meanwhile(step: str) -> None:
    app = meddling(lambda: app.sessions.reset(ANA, session_id))
    session_id = await app.filled(turns=11)
    await run(app, step, session_id)
    assert await app.memory(session_id) == Memory()


@pytest.mark.parametrize("step", STEPS)
async def test_failure_of_a_run_that_a_reset_made_obsolete_does_not_delay_later_work(
    step: str,
) -> None:
    async def reset() -> None:
        await app.sessions.reset(ANA, session_id)

    failing = Script(pause=reset, failure=ModelError("no"))
    app = ChatApp(by_task(summarize=lambda _: failing, extract=lambda _: failing))
    session_id = await app.filled(turns=11)
    with pytest.raises(ModelError):
        await run(app, step, session_id)
    assert await app.memory(session_id) == Memory()


async def test_a_reset_between_two_batches_ends_the_run() -> None:
    app = ChatApp(by_task(summarize=lambda _: Script(pieces=("S.",), pause=resets.pop(0))))
    session_id = await app.filled(turns=60)

    async def nothing() -> None:
        return None

    async def reset() -> None:
        await app.sessions.reset(ANA, session_id)
        await app.add_turns(session_id, 30)

    resets = [nothing, reset]
    await app.steps.summarize(OWNER, session_id)
    assert await app.memory(session_id) == Memory()


async def test_reset_restarts_the_consolidation_counters() -> None:
    app = ChatApp(by_task())
    session_id = await app.filled(turns=30)
    await app.sessions.reset(ANA, session_id)
    for turn in range(1, 12):
        await app.ask("hola", session_id)
        assert len(app.asked(Task.EXTRACT_MEMORY)) == (1 if turn < 7 else 2)
        assert len(app.asked(Task.SUMMARIZE)) == (turn == 11)
    memory = await app.memory(session_id)
    assert (memory.summarized_to, memory.extracted_to) == (70, 74)
    assert len(texts_in(app.asked(Task.SUMMARIZE)[0])) == 10


async def test_deleting_a_session_during_consolidation_is_harmless(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = meddling(lambda: app.sessions.delete(ANA, session_id))
    session_id = await app.filled(turns=10)
    await app.ask("hola", session_id)
    assert (await app.sessions.page(ANA, limit=10, after=None)).sessions == []
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert app.consolidation._timers == {}


@pytest.mark.parametrize(("turns", "transactions"), [(1, 2), (6, 2), (40, 4)])
async def test_extraction_takes_one_transaction_to_load_and_one_to_store_per_batch(
    turns: int, transactions: int
) -> None:
    storage = Counting()
    app = ChatApp(by_task(), storage=storage, rules=EXTRACTIONS)
    session_id = await app.filled(turns=turns)
    storage.count = 0
    await app.steps.extract(OWNER, session_id)
    assert storage.count == transactions
    await app.steps.extract(OWNER, session_id)
    assert storage.count == transactions + 1, "nothing is due: a look and no more"


@pytest.mark.parametrize(
    ("turns", "extracted", "tasks"),
    [
        (1, False, {Task.EXTRACT_MEMORY}),
        (2, True, set()),
        (11, True, {Task.SUMMARIZE}),
        (11, False, {Task.EXTRACT_MEMORY, Task.SUMMARIZE}),
    ],
)
@pytest.mark.parametrize("is_known", [True, False])
async def test_after_a_turn_a_due_step_takes_two_transactions_and_any_other_step_none(
    turns: int, extracted: bool, tasks: set[Task], is_known: bool
) -> None:
    storage = Counting()
    app = ChatApp(by_task(), storage=storage)
    session_id = await app.filled(turns=turns)
    if extracted:
        await app.extract(session_id, at_once=True)
    seen = await seen_after_a_turn(app, session_id)
    asked, storage.count = len(app.model.requests), 0
    known = seen if is_known else replace(seen, messages=seen.messages[-1:])
    app.consolidation.schedule(known, asked_at=LATER)
    await app.consolidation.wait_for(OWNER, session_id)
    requests = app.model.requests[asked:]
    assert {request.task for request in requests} == tasks
    assert sum(len(texts_in(request)) for request in requests) == {1: 1, 2: 0}.get(
        turns, 10 if extracted else 21
    )
    # One more each: an extraction reads the person's memory, a summary the details of answers.
    assert storage.count == 2 * len(tasks)
    await app.consolidation.aclose()


async def test_a_turn_that_began_before_a_run_ended_reads_the_memory_that_the_run_made() -> None:
    app = ChatApp(by_task(), rules=EXTRACTIONS)
    session_id = await app.filled(turns=1)
    seen = await seen_after_a_turn(app, session_id)
    asked_at = seen.messages[0].ts
    for _ in range(2):
        app.consolidation.schedule(seen, asked_at=asked_at)
        await app.consolidation.wait_for(OWNER, session_id)
    assert len(app.model.requests) == 1
    await app.consolidation.aclose()


async def test_what_a_turn_knows_of_a_session_that_was_reset_is_not_remembered() -> None:
    app = ChatApp(by_task(), rules=EXTRACTIONS)
    session_id = await app.filled(turns=6)
    seen = await seen_after_a_turn(app, session_id)
    await app.sessions.reset(ANA, session_id)
    app.consolidation.schedule(seen, asked_at=LATER)
    await app.consolidation.wait_for(OWNER, session_id)
    assert await app.memory(session_id) == Memory()
    await app.consolidation.aclose()


async def test_a_failed_extraction_does_not_spoil_the_summary_that_is_due_with_it() -> None:
    app = ChatApp(by_task(extract=lambda _: ModelError("no")))
    session_id = await app.filled(turns=11)
    seen = await seen_after_a_turn(app, session_id)
    app.consolidation.schedule(seen, asked_at=LATER)
    await app.consolidation.wait_for(OWNER, session_id)
    memory = await app.memory(session_id)
    assert (memory.summarized_to, memory.extraction_setback) == (10, FAILED_AT_22)
    await app.consolidation.aclose()


# --- runs ------------------------------------------------------------------------------------


async def test_session_has_one_consolidation_at_a_time() -> None:
    gate = asyncio.Event()
    slow = by_task(extract=lambda _: Script(pieces=("{}",), pause=gate.wait))
    app = ChatApp(slow, rules=replace(EXTRACTIONS, extract_every=1))
    session_id = await app.sessions.begin(ANA)
    for _ in range(3):
        assert [event async for event in app.events("hola", session_id)]
    await eventually(lambda: len(app.asked(Task.EXTRACT_MEMORY)) > 0)
    assert len(app.asked(Task.EXTRACT_MEMORY)) == 1
    gate.set()
    await app.consolidation.wait_for(OWNER, session_id)
    await app.ask("hola", session_id)
    assert sum(len(texts_in(request)) for request in app.asked(Task.EXTRACT_MEMORY)) == 4
    assert (await app.memory(session_id)).extracted_to == 8


async def test_turn_that_ends_with_a_consolidation_starts_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = ChatApp(by_task(), rules=EXTRACTIONS)
    runs: list[SessionId] = []

    def turn() -> None:
        schedule(app, session_id, Memory(), last_seq=2)

    async def extract(_: object, session_id: SessionId, **__: object) -> Memory:
        runs.append(session_id)
        if len(runs) == 1:
            asyncio.get_running_loop().call_soon(turn)
        return Memory(extracted_to=2)

    monkeypatch.setattr(app.steps, "extract", extract)
    session_id = await app.filled(turns=1)
    turn()
    await eventually(lambda: len(runs) == 2)
    await app.consolidation.wait_for(OWNER, session_id)


async def test_two_sessions_are_consolidated_at_the_same_time() -> None:
    both = asyncio.Barrier(2)
    app = ChatApp(
        by_task(extract=lambda _: Script(pieces=('{"facts": ["question a"]}',), pause=both.wait))
    )
    ids = [(who, await app.filled(turns=5, who=who)) for who in (ANA, BEN)]
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(app.ask("hola", number, who=who) for who, number in ids))
    for who, number in ids:
        assert (await app.memory(number, who=who)).extracted_to == 12


@pytest.mark.parametrize("failure", [ModelError("no"), ModelUnavailable("no")])
async def test_lost_run_is_repeated_after_the_next_turn(
    failure: ModelError, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Answer] = [failure, "S."]
    app = ChatApp(by_task(summarize=lambda _: answers.pop(0)), rules=SUMMARIES)
    session_id = await app.filled(turns=10)
    await app.ask("question 21", session_id)
    assert await app.memory(session_id) == Memory(version=1, summary_setback=FAILED_AT_22)
    assert "consolidation dropped" in caplog.text
    await app.ask("question 23", session_id)
    memory = await app.memory(session_id)
    assert (memory.summary, memory.summarized_to) == ("S.", 12)
    assert memory.summary_setback == Setback()
    assert len(await app.messages(session_id)) == 24


async def test_failed_extraction_does_not_prevent_the_summary() -> None:
    app = ChatApp(by_task(extract=lambda _: ModelError("no JSON mode here")))
    session_id = await app.filled(turns=10)
    await app.ask("hola", session_id)
    memory = await app.memory(session_id)
    assert (memory.summarized_to, memory.extracted_to) == (10, 0)


async def test_batches_done_before_a_failure_are_kept() -> None:
    answers: list[Answer] = ["S.", ModelError("no")]
    app = ChatApp(by_task(summarize=lambda _: answers.pop(0)), rules=SUMMARIES)
    session_id = await app.filled(turns=60)
    with pytest.raises(ChatbotError):
        await app.steps.summarize(OWNER, session_id)
    memory = await app.memory(session_id)
    assert (memory.summary, memory.summarized_to) == ("S.", 40)
    await nothing_is_lost(app, session_id, 120)


async def test_closing_cancels_running_work_and_leaves_no_task() -> None:
    app = ChatApp(by_task(extract=lambda _: Script(pause=never)))
    session_id = await app.filled(turns=5)
    assert [event async for event in app.events("hola", session_id)]
    await eventually(lambda: len(app.asked(Task.EXTRACT_MEMORY)) == 1)
    await app.consolidation.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert await app.memory(session_id) == Memory()


async def test_idle_sessions_cost_a_timer_each_and_no_task_and_closing_ends_them() -> None:
    app = ChatApp(by_task(), rules=EXTRACTIONS)
    for number in range(2000):
        session_id = SessionId(f"{number:032x}")
        schedule(app, session_id, Memory(extracted_to=2), last_seq=4)
    assert len(app.consolidation._timers) == 2000
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await app.consolidation.aclose()
    assert app.consolidation._timers == {}


async def test_no_work_starts_after_closing() -> None:
    app = ChatApp(by_task(), rules=EXTRACTIONS)
    session_id = await app.filled(turns=1)
    await app.consolidation.aclose()
    for extracted_to in (0, 1):
        schedule(app, session_id, Memory(extracted_to=extracted_to), last_seq=2)
    async with asyncio.timeout(PATIENCE_S):
        assert await app.consolidation.is_pending(OWNER, session_id, within_s=2 * PATIENCE_S)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert app.consolidation._timers == {}
