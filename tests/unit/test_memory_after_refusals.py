"""Refusals and unusable answers of a provider never stop the memory of a session."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from chatbot.adapters.llm.scripted import Answer, Script
from chatbot.domain.chat import FinishReason, SessionId
from chatbot.domain.errors import (
    ContextTooLong,
    ModelError,
    ModelFailure,
    NotFound,
    PromptRefused,
)
from chatbot.domain.memory import Memory, Setback, Update
from chatbot.domain.ports.model import Completion, ModelRequest, Task
from conversation import ANA, BEN, PATIENCE_S, RULES, ChatApp, by_task, eventually, never

OWNER = ANA.owner
SUMMARIES = replace(RULES, structured=False)
EXTRACTIONS = replace(RULES, threshold=0)
EACH_TURN = replace(EXTRACTIONS, extract_every=1)


def data(request: ModelRequest) -> dict[str, object]:
    content = json.loads(request.messages[0].text.split("\n")[1])
    assert isinstance(content, dict)
    return content


def texts_in(request: ModelRequest) -> list[str]:
    messages = data(request)["messages"]
    assert isinstance(messages, list)
    return [message["text"] for message in messages]


def refusing(
    *words: str,
    otherwise: Callable[[ModelRequest], Answer],
    refusal: Answer = PromptRefused(),  # noqa: B008 # never changed
) -> Callable[[ModelRequest], Answer]:
    def answer(request: ModelRequest) -> Answer:
        text = request.messages[0].text
        return refusal if any(word in text for word in words) else otherwise(request)

    return answer


def facts_of_each_message(request: ModelRequest) -> str:
    return json.dumps({"facts": texts_in(request)})


def joined_texts_in(request: ModelRequest) -> str:
    texts = [text.replace(" ", "_") for text in texts_in(request)]
    return " ".join([str(data(request)["summary"]), *texts])


def unusable(finish_reason: FinishReason, text: str = "I'm sorry, I can't.") -> Completion:
    return Completion(text=text, finish_reason=finish_reason, usage=None)


BAD_REPLIES = {
    "filtered": unusable(FinishReason.BLOCKED),
    "cut": unusable(FinishReason.LENGTH, '{"facts": ["ha'),
    "empty": unusable(FinishReason.STOP, " \n"),
    "thinking only": unusable(FinishReason.STOP, "<think>hm</think>"),
}


# --- what the provider refuses ---------------------------------------------------------------


@pytest.mark.parametrize("refusal", [PromptRefused(), ContextTooLong()])
@pytest.mark.parametrize("bad", [1, 7, 11])
async def test_a_refused_message_is_left_out_of_an_extraction_and_marked(
    bad: int, refusal: ModelFailure
) -> None:
    answers = refusing(f'question {bad}"', otherwise=facts_of_each_message, refusal=refusal)
    app = ChatApp(by_task(extract=answers), rules=EXTRACTIONS)
    session_id = await app.filled(turns=6)
    memory = await app.extract(session_id)
    good = [f"question {n}" for n in range(1, 12, 2) if n != bad]
    assert [fact.value for fact in memory.structured.facts] == good
    assert (memory.extracted_to, memory.refused) == (12, (bad,))
    assert await app.memory(session_id) == memory, "that is stored"


@pytest.mark.parametrize("bad", ["question 1", "answer 4", "answer 10"])
async def test_a_refused_message_is_left_out_of_a_summary_and_marked(bad: str) -> None:
    answers = refusing(f'"{bad}"', otherwise=lambda r: "-".join(texts_in(r)).replace(" ", "_"))
    app = ChatApp(by_task(summarize=answers), rules=SUMMARIES)
    session_id = await app.filled(turns=11)
    memory = await app.steps.summarize(OWNER, session_id)
    assert (memory.summarized_to, memory.refused) == (10, (int(bad.split()[1]),))
    assert memory.summary
    assert bad.replace(" ", "_") not in memory.summary


async def test_a_marked_message_is_not_sent_again() -> None:
    answers = refusing('question 3"', otherwise=facts_of_each_message)
    app = ChatApp(by_task(extract=answers, summarize=lambda _: "S."))
    session_id = await app.filled(turns=11)
    await app.extract(session_id)
    await app.steps.summarize(OWNER, session_id)
    summary = texts_in(app.asked(Task.SUMMARIZE)[0])
    assert "question 3" not in summary
    assert "answer 4" in summary
    await app.ask("and now?", session_id)
    assert "question 3" not in [m.text for m in app.asked()[0].messages]


async def test_a_question_that_was_refused_as_a_prompt_is_in_no_summary_and_no_extraction() -> None:
    bad = by_task(chat=lambda r: PromptRefused() if "BAD" in r.messages[-1].text else "ok")
    app = ChatApp(bad, rules=replace(RULES, window=2, threshold=2, extract_every=1))
    session_id = (await app.ask("hello")).session_id
    with pytest.raises(PromptRefused):
        await app.ask("say BAD", session_id)
    for number in range(3):
        await app.ask(f"more {number}", session_id)
    asked = [texts_in(r) for task in (Task.SUMMARIZE, Task.EXTRACT_MEMORY) for r in app.asked(task)]
    assert "say BAD" not in [text for texts in asked for text in texts]
    assert "hello" in [text for texts in asked for text in texts]


async def test_consolidation_refused_regardless_of_its_content_marks_nothing_and_is_postponed() -> (
    None
):
    app = ChatApp(by_task(extract=lambda _: PromptRefused()), rules=EXTRACTIONS)
    session_id = await app.filled(turns=6)
    with pytest.raises(PromptRefused):
        await app.extract(session_id)
    memory = await app.memory(session_id)
    assert (memory.refused, memory.extracted_to) == ((), 0)
    assert memory.extraction_setback == Setback(failures=1, retry_at=14)


async def test_known_memory_that_is_refused_does_not_end_extraction() -> None:
    answers = refusing("BAD", otherwise=facts_of_each_message)
    app = ChatApp(by_task(extract=answers), rules=EXTRACTIONS)
    session_id = await app.sessions.begin(ANA)
    await app.memory_editor.put_structured(ANA, session_id, Update(facts=("likes BAD words",)))
    await app.add_turns(session_id, 2)
    memory = await app.extract(session_id)
    assert [fact.value for fact in memory.structured.facts] == [
        "likes BAD words",
        "question 1",
        "question 3",
    ]
    assert memory.refused == ()


async def test_refused_summary_keeps_its_newest_words_and_continues() -> None:
    answers = refusing("BAD", otherwise=joined_texts_in)
    rules = replace(SUMMARIES, summary_max_words=12)
    app = ChatApp(by_task(summarize=answers), rules=rules)
    session_id = await app.filled(turns=11)
    await app.memory_editor.put_summary(ANA, session_id, "BAD words. Ana works in Madrid.")
    memory = await app.steps.summarize(OWNER, session_id)
    assert memory.summarized_to == 10
    assert memory.refused == ()
    assert memory.summary.startswith("words. Ana works in Madrid. question_1")


async def test_many_refused_messages_cost_a_bounded_number_of_calls_at_a_time() -> None:
    answers = refusing("question", otherwise=facts_of_each_message)
    app = ChatApp(by_task(extract=answers), rules=EXTRACTIONS)
    session_id = await app.filled(turns=60)
    memory = await app.extract(session_id)
    assert memory.extracted_to == 120
    assert len(memory.refused) == 60
    assert len(app.model.requests) < 60 * 4


# --- replies that are none -------------------------------------------------------------------


@pytest.mark.parametrize("reply", BAD_REPLIES.values(), ids=BAD_REPLIES)
async def test_unusable_reply_keeps_the_previous_summary(reply: Completion) -> None:
    answers: list[Answer] = ["Ana works in Madrid.", reply, "And likes question 1."]
    app = ChatApp(by_task(summarize=lambda _: answers.pop(0)), rules=SUMMARIES)
    session_id = await app.filled(turns=11)
    await app.steps.summarize(OWNER, session_id)
    await app.add_turns(session_id, 6)
    with pytest.raises(ModelError):
        await app.steps.summarize(OWNER, session_id)
    memory = await app.memory(session_id)
    assert (memory.summary, memory.summarized_to) == ("Ana works in Madrid.", 10)
    await app.add_turns(session_id, 1)
    memory = await app.steps.summarize(OWNER, session_id)
    assert (memory.summary, memory.summary_setback) == ("And likes question 1.", Setback())


@pytest.mark.parametrize("reply", BAD_REPLIES.values(), ids=BAD_REPLIES)
async def test_unusable_reply_extracts_nothing_and_skips_no_message(reply: Completion) -> None:
    answers: list[Answer] = [reply, '{"facts": ["likes question 1"]}']
    app = ChatApp(by_task(extract=lambda _: answers.pop(0)), rules=EXTRACTIONS)
    session_id = await app.filled(turns=6)
    with pytest.raises(ModelError):
        await app.extract(session_id)
    assert (await app.memory(session_id)).extracted_to == 0
    await app.add_turns(session_id, 1)
    memory = await app.extract(session_id)
    assert [fact.value for fact in memory.structured.facts] == ["likes question 1"]
    assert texts_in(app.model.requests[-1])[0] == "question 1"


async def test_repeatedly_failing_work_is_not_retried_at_every_turn() -> None:
    app = ChatApp(by_task(extract=lambda _: ModelError("no")), rules=EACH_TURN)
    session_id = await app.sessions.begin(ANA)
    tries = []
    for turn in range(1, 41):
        before = len(app.asked(Task.EXTRACT_MEMORY))
        await app.ask("hello", session_id)
        tries += [turn] if len(app.asked(Task.EXTRACT_MEMORY)) > before else []
    assert tries == [1, 2, 4, 8, 16, 32]
    await app.consolidation.aclose()


async def test_the_setback_survives_a_restart() -> None:
    app = ChatApp(by_task(extract=lambda _: ModelError("no")), rules=EACH_TURN)
    session_id = await app.sessions.begin(ANA)
    for _ in range(2):
        await app.ask("hello", session_id)
    await app.consolidation.aclose()
    again = ChatApp(by_task(), storage=app.storage, rules=EACH_TURN)
    await again.ask("hello", session_id)
    assert again.asked(Task.EXTRACT_MEMORY) == []
    await again.ask("hello", session_id)
    assert len(again.asked(Task.EXTRACT_MEMORY)) == 1
    assert (await again.memory(session_id)).extraction_setback == Setback()


async def test_message_whose_extraction_fails_three_times_is_skipped() -> None:
    answers = refusing("BAD", otherwise=facts_of_each_message, refusal=BAD_REPLIES["filtered"])
    app = ChatApp(by_task(extract=answers), rules=EACH_TURN)
    session_id = (await app.ask("say BAD")).session_id
    for number in range(3):
        await app.ask(f"cat {number}", session_id)
    memory = await app.memory(session_id)
    assert memory.refused == (1,)
    assert [fact.value for fact in memory.structured.facts] == ["cat 0", "cat 1", "cat 2"]


async def test_model_that_never_writes_json_is_not_asked_to_repair_forever() -> None:
    app = ChatApp(by_task(extract=lambda _: "I noted it."), rules=EACH_TURN)
    session_id = await app.sessions.begin(ANA)
    calls = []
    for _ in range(6):
        before = len(app.asked(Task.EXTRACT_MEMORY))
        await app.ask("hello", session_id)
        calls.append(len(app.asked(Task.EXTRACT_MEMORY)) - before)
    assert calls == [2, 2, 2, 1, 1, 1]


async def test_one_valid_update_enables_repairs_again() -> None:
    answers: list[Answer] = [*["no"] * 7, "{}", "no", "{}"]
    app = ChatApp(by_task(extract=lambda _: answers.pop(0)), rules=EACH_TURN)
    session_id = await app.sessions.begin(ANA)
    for _ in range(6):
        await app.ask("hello", session_id)
    assert answers == []


# --- forgetting ------------------------------------------------------------------------------


async def test_forgotten_item_is_not_extracted_again_from_old_messages() -> None:
    updates: list[Answer] = [
        '{"profile": {"name": "Ana"}, "todos": ["call HR"]}',
        '{"forget": ["name"], "done": ["call HR"]}',
        "{}",
    ]
    app = ChatApp(by_task(extract=lambda _: updates.pop(0)), rules=EACH_TURN)
    session_id = (await app.ask("I am Ana, remind me to call HR")).session_id
    assert (await app.memory(session_id)).structured.profile["name"].value == "Ana"
    await app.ask("forget my name; I have called HR", session_id)
    await app.ask("thanks", session_id)
    known = (await app.memory(session_id)).structured
    assert (known.profile, known.todos) == ({}, ())
    assert [texts_in(request) for request in app.asked(Task.EXTRACT_MEMORY)] == [
        ["I am Ana, remind me to call HR"],
        ["forget my name; I have called HR"],
        ["thanks"],
    ]


@pytest.mark.parametrize("language", ["es", "en"])
async def test_extraction_prompt_explains_how_to_forget_and_to_finish(language: str) -> None:
    rules = replace(EACH_TURN, language=language)  # type: ignore[arg-type] # one of the two
    app = ChatApp(by_task(), rules=rules)
    await app.ask("hello")
    system = app.asked(Task.EXTRACT_MEMORY)[0].system
    assert '"forget"' in system
    assert '"done"' in system


# --- when it is idle, and who waits for it ---------------------------------------------------


async def test_remaining_messages_are_extracted_when_the_session_is_idle() -> None:
    app = ChatApp(by_task(extract=facts_of_each_message), rules=replace(EXTRACTIONS, idle_s=0.02))
    session_id = (await app.ask("one")).session_id
    await app.ask("two", session_id)
    assert len(app.asked(Task.EXTRACT_MEMORY)) == 1
    await eventually(lambda: len(app.asked(Task.EXTRACT_MEMORY)) == 2)
    await app.consolidation.wait_for(OWNER, session_id)
    assert (await app.memory(session_id)).extracted_to == 4
    assert app.consolidation._timers == {}


async def test_turn_during_a_consolidation_is_extracted_when_the_session_is_idle() -> None:
    gate = asyncio.Event()
    slow = by_task(extract=lambda r: Script(pieces=(facts_of_each_message(r),), pause=gate.wait))
    app = ChatApp(slow, rules=replace(EXTRACTIONS, idle_s=0.02))
    session_id = await app.sessions.begin(ANA)
    for number in range(2):
        assert [event async for event in app.events(f"{number}", session_id)]
        await eventually(lambda: len(app.asked(Task.EXTRACT_MEMORY)) == 1)
    gate.set()
    await eventually(lambda: len(app.asked(Task.EXTRACT_MEMORY)) == 2)
    await app.consolidation.wait_for(OWNER, session_id)
    assert (await app.memory(session_id)).extracted_to == 4


async def test_a_failed_extraction_is_tried_once_more_when_the_session_is_idle() -> None:
    app = ChatApp(
        by_task(extract=lambda _: ModelError("no")), rules=replace(EACH_TURN, idle_s=0.01)
    )
    session_id = (await app.ask("one")).session_id
    await eventually(lambda: len(app.asked(Task.EXTRACT_MEMORY)) == 2)
    await app.consolidation.wait_for(OWNER, session_id)
    await asyncio.sleep(0.05)
    assert len(app.asked(Task.EXTRACT_MEMORY)) == 2


async def test_turn_that_ends_during_a_consolidation_is_included_in_it() -> None:
    gate = asyncio.Event()
    slow = by_task(extract=lambda r: Script(pieces=(facts_of_each_message(r),), pause=gate.wait))
    app = ChatApp(slow, rules=EACH_TURN)
    session_id = await app.sessions.begin(ANA)
    for number in range(3):
        assert [event async for event in app.events(f"{number}", session_id)]
    gate.set()
    await app.consolidation.wait_for(OWNER, session_id)
    assert (await app.memory(session_id)).extracted_to == 6


async def read(app: ChatApp, session_id: SessionId) -> tuple[Memory, bool]:
    async with asyncio.timeout(PATIENCE_S):
        found, is_pending = await app.memory_editor.read_learned(ANA, session_id)
    return found.memory, is_pending


async def test_reading_the_memory_waits_for_an_answered_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatbot.application.memory.LEARNING_WAIT_S", PATIENCE_S)
    gate = asyncio.Event()
    app = ChatApp(
        by_task(extract=lambda _: Script(pieces=('{"facts": ["hello"]}',), pause=gate.wait)),
        rules=EACH_TURN,
    )
    session_id = await app.sessions.begin(ANA)
    assert [event async for event in app.events("hello", session_id)]
    reading = asyncio.create_task(read(app, session_id))
    await asyncio.sleep(0.01)
    assert not reading.done()
    gate.set()
    memory, is_pending = await reading
    assert [fact.value for fact in memory.structured.facts] == ["hello"]
    assert not is_pending


async def test_reading_memory_waits_a_bounded_time_and_reports_pending_updates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatbot.application.memory.LEARNING_WAIT_S", 0.01)
    app = ChatApp(by_task(extract=lambda _: Script(pause=never)), rules=EACH_TURN)
    session_id = await app.sessions.begin(ANA)
    assert [event async for event in app.events("hello", session_id)]
    memory, is_pending = await read(app, session_id)
    assert (memory.structured.facts, is_pending) == ((), True)
    await app.consolidation.aclose()


async def test_reading_memory_does_not_wait_for_the_session_of_another_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatbot.application.memory.LEARNING_WAIT_S", 2 * PATIENCE_S)
    app = ChatApp(by_task(extract=lambda _: Script(pause=never)), rules=EACH_TURN)
    session_id = await app.sessions.begin(ANA)
    assert [event async for event in app.events("hello", session_id)]
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(NotFound):
            await app.memory_editor.read_learned(BEN, session_id)
    await app.consolidation.aclose()


async def test_reading_the_memory_waits_for_the_extraction_and_not_for_the_summary() -> None:
    rules = replace(RULES, window=2, threshold=2, extract_every=1)
    app = ChatApp(by_task(summarize=lambda _: Script(pause=never)), rules=rules)
    session_id = await app.filled(turns=2)
    assert [event async for event in app.events("hello", session_id)]
    assert not (await read(app, session_id))[1]
    await app.consolidation.aclose()


@pytest.mark.parametrize("failure", [ModelError("no"), PromptRefused()])
async def test_nothing_is_pending_after_a_failed_turn_or_a_failed_extraction(
    failure: ModelFailure,
) -> None:
    app = ChatApp(by_task(chat=lambda _: failure), rules=EACH_TURN)
    session_id = await app.sessions.begin(ANA)
    with pytest.raises(ModelFailure):
        await app.ask("hello", session_id)
    assert not (await read(app, session_id))[1]
    app = ChatApp(by_task(extract=lambda _: failure), storage=app.storage, rules=EACH_TURN)
    await app.ask("hello", session_id)
    assert not (await read(app, session_id))[1]
    await app.consolidation.aclose()


async def test_extraction_left_by_a_restart_runs_when_the_memory_is_read() -> None:
    app = ChatApp(by_task(extract=facts_of_each_message), rules=EXTRACTIONS)
    session_id = await app.filled(turns=1)
    memory, is_pending = await read(app, session_id)
    assert [fact.value for fact in memory.structured.facts] == ["question 1"]
    assert not is_pending


async def test_consolidation_waits_for_a_turn_of_another_process_and_extracts_it_once() -> None:
    gate = asyncio.Event()
    answers = by_task(extract=lambda r: Script(pieces=(facts_of_each_message(r),), pause=gate.wait))
    here, there = ChatApp(by_task(), rules=EACH_TURN), ChatApp(answers, rules=EACH_TURN)
    there = ChatApp(answers, storage=here.storage, rules=EACH_TURN)
    here.consolidation._clock = lambda: there_is_now
    session_id = await there.sessions.begin(ANA)
    assert [event async for event in there.events("hello", session_id)]
    there_is_now = (await there.messages(session_id))[-1].ts
    reading = asyncio.create_task(read(here, session_id))
    await asyncio.sleep(0.02)
    assert not reading.done()
    gate.set()
    memory, is_pending = await reading
    assert [fact.value for fact in memory.structured.facts] == ["hello"]
    assert not is_pending
    assert here.asked(Task.EXTRACT_MEMORY) == []
