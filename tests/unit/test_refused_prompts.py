"""A prompt that the provider refuses fails its own turn, never the session."""

from dataclasses import replace

import pytest

from chatbot.adapters.llm.scripted import Answer, Script
from chatbot.application.prompt_history import accepted
from chatbot.domain.chat import FinishReason, InterruptReason, MessageRole, SessionId
from chatbot.domain.errors import (
    ContextTooLong,
    ModelError,
    ModelFailure,
    ModelUnavailable,
    PromptRefused,
    StorageUnavailable,
)
from chatbot.domain.memory import Memory, Update
from chatbot.domain.ports.model import Completion, ModelRequest, Task
from conversation import ANA, BEN, NO_MEMORY, RULES, ChatApp, by_task, message

BLOCKED = Completion(text="", finish_reason=FinishReason.BLOCKED, usage=None)
WAYS = pytest.mark.parametrize("stream", [True, False], ids=["stream", "complete"])
REFUSALS = pytest.mark.parametrize(
    "refusal", [PromptRefused(), BLOCKED], ids=["an error", "a blocked finish without text"]
)


def as_text(request: ModelRequest) -> str:
    return "\n".join(m.text for m in request.messages)


def refusing(word: str, refusal: Answer = PromptRefused()) -> ChatApp:  # noqa: B008 # never changed
    """A provider that refuses every prompt containing the word."""
    return ChatApp(by_task(chat=lambda r: refusal if word in as_text(r) else "ok"), rules=NO_MEMORY)


async def prompts(app: ChatApp, session_id: SessionId, *questions: str) -> list[list[str]]:
    """The texts of each call caused by these questions, which are all answered."""
    before = len(app.asked())
    for question in questions:
        await app.ask(question, session_id)
    return [[m.text for m in request.messages] for request in app.asked()[before:]]


@WAYS
@REFUSALS
async def test_a_refused_question_is_stored_and_marked_and_left_out_of_later_prompts(
    refusal: Answer, stream: bool
) -> None:
    app = refusing("BAD", refusal)
    session_id = (await app.ask("hello", stream=stream)).session_id
    with pytest.raises(PromptRefused):
        await app.ask("say BAD", session_id, stream=stream)
    stored = [(m.role.value, m.content, m.reason) for m in await app.messages(session_id)]
    assert stored[2:] == [("user", "say BAD", None), ("assistant", "", InterruptReason.REFUSED)]
    assert await prompts(app, session_id, "and now?") == [["hello", "ok", "and now?"]]


async def test_a_refused_first_question_is_asked_only_once() -> None:
    app = refusing("BAD")
    with pytest.raises(PromptRefused):
        await app.ask("say BAD")
    assert len(app.asked()) == 1


@REFUSALS
async def test_question_from_an_outage_that_is_refused_later_does_not_block_the_next_turn(
    refusal: Answer,
) -> None:
    down = True
    app = ChatApp(
        by_task(
            chat=lambda r: (
                ModelUnavailable("down") if down else refusal if "BAD" in as_text(r) else "ok"
            )
        ),
        rules=NO_MEMORY,
    )
    session_id = await app.sessions.begin(ANA)
    with pytest.raises(ModelUnavailable):
        await app.ask("say BAD", session_id)
    down = False
    assert await prompts(app, session_id, "hello", "and now?") == [
        ["say BAD\n\nhello"],
        ["hello"],
        ["hello", "ok", "and now?"],
    ]
    assert (await app.memory(session_id)).refused == (1,)


async def test_questions_of_an_outage_that_are_not_refused_are_still_joined() -> None:
    answers: list[Answer] = [ModelUnavailable("down"), "ok"]
    app = ChatApp(by_task(chat=lambda _: answers.pop(0)), rules=NO_MEMORY)
    session_id = await app.sessions.begin(ANA)
    with pytest.raises(ModelUnavailable):
        await app.ask("a", session_id)
    assert await prompts(app, session_id, "b") == [["a\n\nb"]]


async def test_earlier_message_that_is_refused_now_is_left_out_of_later_prompts() -> None:
    is_strict = False
    app = ChatApp(
        by_task(chat=lambda r: PromptRefused() if is_strict and "BAD" in as_text(r) else "ok"),
        rules=NO_MEMORY,
    )
    session_id = (await app.ask("say BAD")).session_id
    await app.ask("more", session_id)
    is_strict = True
    assert await prompts(app, session_id, "hello", "and now?") == [
        ["say BAD", "ok", "more", "ok", "hello"],
        ["hello"],
        ["hello", "ok", "and now?"],
    ]


async def test_refused_memory_item_does_not_fail_the_turn() -> None:
    app = refusing("BAD")
    session_id = (await app.ask("hello")).session_id
    await app.memory_editor.put_structured(ANA, session_id, Update(facts=("likes BAD words",)))
    reply = await app.ask("and now?", session_id)
    assert (reply.text, reply.memory_used) == ("ok", ())
    assert as_text(app.asked()[-1]) == "hello\nok\nand now?", "the history is still there"


async def test_refused_memory_item_does_not_drop_the_questions_of_an_outage() -> None:
    answers: list[Answer] = [ModelUnavailable("down")]
    app = ChatApp(
        by_task(
            chat=lambda r: (
                answers.pop() if answers else PromptRefused() if "BAD" in as_text(r) else "ok"
            )
        ),
        rules=NO_MEMORY,
    )
    session_id = await app.sessions.begin(ANA)
    with pytest.raises(ModelUnavailable):
        await app.ask("hello", session_id)
    await app.memory_editor.put_structured(ANA, session_id, Update(facts=("likes BAD words",)))
    assert (await prompts(app, session_id, "and now?"))[1:] == [["hello\n\nand now?"]]
    assert (await app.memory(session_id)).refused == ()


async def test_unspecific_refusal_of_joined_questions_does_not_block_the_session() -> None:
    app = refusing("BAD", ModelError("no", status=400))
    session_id = (await app.ask("hello")).session_id
    with pytest.raises(ModelError):
        await app.ask("say BAD", session_id)
    assert (await app.messages(session_id))[-1].reason is InterruptReason.UPSTREAM
    assert (await app.ask("and now?", session_id)).text == "ok"


async def test_repeated_question_is_stored_and_extracted_twice() -> None:
    answers: list[Answer] = [ModelUnavailable("down"), "ok", "ok"]
    rules = replace(RULES, window=2, threshold=2, extract_every=1)
    app = ChatApp(by_task(chat=lambda _: answers.pop(0)), rules=rules)
    session_id = await app.sessions.begin(ANA)
    with pytest.raises(ModelUnavailable):
        await app.ask("again", session_id)
    for question in ("again", "again"):
        await app.ask(question, session_id)
    asked = [m.content for m in await app.messages(session_id) if m.role is MessageRole.USER]
    assert asked == ["again"] * 3
    chats = [[m.text for m in request.messages] for request in app.asked()]
    assert chats[-2] == ["again"], "the unanswered question and the same one are one"
    assert chats[-1][:2] == ["again", "ok"]
    assert chats[-1][2].endswith("again")
    learned = "\n".join(as_text(request) for request in app.asked(Task.EXTRACT_MEMORY))
    assert learned.count('"text":"again"') == 3
    summed_up = "\n".join(as_text(request) for request in app.asked(Task.SUMMARIZE))
    assert summed_up.count('"text":"again"') == 2


@pytest.mark.parametrize(
    "failure", [ModelUnavailable("down"), ModelError("garbage"), ModelError("key", status=401)]
)
async def test_failure_unrelated_to_the_prompt_is_not_retried(
    failure: ModelFailure,
) -> None:
    answers: list[Answer] = ["ok", failure]
    app = ChatApp(by_task(chat=lambda _: answers.pop(0)), rules=NO_MEMORY)
    session_id = (await app.ask("a")).session_id
    with pytest.raises(type(failure)):
        await app.ask("b", session_id)


async def test_a_refusal_after_text_has_arrived_is_not_asked_again() -> None:
    answers: list[Answer] = ["ok", Script(pieces=("Half",), failure=PromptRefused())]
    app = ChatApp(by_task(chat=lambda _: answers.pop(0)), rules=NO_MEMORY)
    session_id = (await app.ask("a")).session_id
    with pytest.raises(PromptRefused):
        await app.ask("b", session_id)
    last = (await app.messages(session_id))[-1]
    assert (last.content, last.reason) == ("Half", InterruptReason.REFUSED)


async def test_a_blocked_answer_with_text_is_an_answer() -> None:
    partly = Completion(text="Half", finish_reason=FinishReason.BLOCKED, usage=None)
    reply = await ChatApp([partly], rules=NO_MEMORY).ask("a")
    assert (reply.text, reply.finish_reason) == ("Half", FinishReason.BLOCKED)


def test_partial_answer_of_a_refused_turn_is_left_out_with_its_question() -> None:
    history = [
        message(1, "BAD"),
        message(2, "half", reason=InterruptReason.REFUSED),
        message(3, "x"),
    ]
    assert [m.seq for m in accepted(history, Memory())] == [3]
    assert [m.seq for m in accepted(history, Memory(refused=(3,)))] == []


# --- prompts that are too long ---------------------------------------------------------------


def bounded(most_bytes: int) -> ChatApp:
    """A provider whose context is smaller than configured."""

    def answer(request: ModelRequest) -> Answer:
        size = len(as_text(request).encode())
        return ContextTooLong() if size > most_bytes else "ok"

    return ChatApp(by_task(chat=answer), rules=NO_MEMORY if most_bytes < 500 else SUMMARIES_OFF)


SUMMARIES_OFF = replace(RULES, threshold=60, structured=False)


async def test_a_prompt_that_is_too_long_is_cut_and_the_next_one_fits_at_once() -> None:
    app = bounded(3000)
    session_id = await app.sessions.begin(ANA)
    calls = [len(await prompts(app, session_id, f"{n} ".ljust(300, "x"))) for n in range(20)]
    first = calls.index(2)
    assert max(calls) == 2, "cut and sent once more"
    assert calls[first + 1 : first + 4] == [1, 1, 1]
    assert (await app.memory(session_id)) == Memory(), "nothing of it is refused for good"


async def test_a_question_that_is_too_long_by_itself_is_refused_and_marked() -> None:
    app = bounded(400)
    session_id = (await app.ask("hello")).session_id
    with pytest.raises(ContextTooLong):
        await app.ask("x" * 401, session_id)
    assert (await app.messages(session_id))[-1].reason is InterruptReason.REFUSED
    assert (await prompts(app, session_id, "and now?"))[-1] == ["hello", "ok", "and now?"]


# --- what a failed turn leaves ---------------------------------------------------------------


async def count_of_sessions(app: ChatApp) -> int:
    return len((await app.sessions.page(ANA, limit=50, after=None)).sessions)


@pytest.mark.parametrize("failure", [ModelUnavailable("down"), ModelError("no"), PromptRefused()])
async def test_a_failed_turn_names_its_session_and_turn(failure: ModelFailure) -> None:
    app = ChatApp([failure], rules=NO_MEMORY)
    with pytest.raises(type(failure)) as failed:
        await app.ask("a")
    (session,) = (await app.sessions.page(ANA, limit=2, after=None)).sessions
    question = (await app.messages(session.id))[0]
    assert (failed.value.session_id, failed.value.turn_id) == (session.id, question.turn_id)


async def test_retried_first_question_replaces_the_session_of_the_failed_attempt() -> None:
    answers: list[Answer] = [*[ModelUnavailable("down")] * 3, "ok"]
    app = ChatApp(by_task(chat=lambda _: answers.pop(0)), rules=NO_MEMORY)
    for _ in range(3):
        with pytest.raises(ModelUnavailable):
            await app.ask("hello")
        assert await count_of_sessions(app) == 1
    session_id = (await app.ask("hello")).session_id
    (session,) = (await app.sessions.page(ANA, limit=50, after=None)).sessions
    assert (session.id, session.message_count) == (session_id, 2)


async def test_failed_first_session_is_kept_once_it_has_been_continued() -> None:
    answers: list[Answer] = [ModelUnavailable("down"), "ok", "ok"]
    app = ChatApp(by_task(chat=lambda _: answers.pop(0)), rules=NO_MEMORY)
    with pytest.raises(ModelUnavailable) as failed:
        await app.ask("hello")
    first = SessionId(str(failed.value.session_id))
    await app.ask("hello", first)
    assert as_text(app.asked()[-1]) == "hello", "the same question is not repeated"
    assert (await app.ask("hello")).session_id != first
    assert len(await app.messages(first)) == 4
    assert await app.is_free(first)


async def test_different_first_question_or_user_gets_its_own_session() -> None:
    answers: list[Answer] = [ModelUnavailable("down"), "ok", "ok", "ok", "ok"]
    app = ChatApp(by_task(chat=lambda _: answers.pop(0)), rules=NO_MEMORY)
    with pytest.raises(ModelUnavailable):
        await app.ask("hello")
    await app.ask("hello", who=BEN)
    await app.ask("good morning")
    assert await count_of_sessions(app) == 2
    await app.ask("hello")
    await app.ask("hello")
    assert await count_of_sessions(app) == 3, "only the failed one is asked again"


async def test_failed_first_session_that_cannot_be_deleted_is_kept_and_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise StorageUnavailable("down")

    answers: list[Answer] = [ModelUnavailable("down"), "ok"]
    app = ChatApp(by_task(chat=lambda _: answers.pop(0)), rules=NO_MEMORY)
    with pytest.raises(ModelUnavailable) as failed:
        await app.ask("hello")
    sessions = await app.storage.transact(lambda tx: type(tx.sessions))
    monkeypatch.setattr(sessions, "delete", fail)
    assert (await app.ask("hello")).text == "ok"
    assert await count_of_sessions(app) == 2
    assert await app.is_free(SessionId(str(failed.value.session_id)))


async def test_deleted_failed_first_session_is_created_again() -> None:
    answers: list[Answer] = [ModelUnavailable("down"), "ok"]
    app = ChatApp(by_task(chat=lambda _: answers.pop(0)), rules=NO_MEMORY)
    with pytest.raises(ModelUnavailable) as failed:
        await app.ask("hello")
    await app.sessions.delete(ANA, SessionId(str(failed.value.session_id)))
    assert (await app.ask("hello")).session_id != failed.value.session_id
    assert await count_of_sessions(app) == 1
