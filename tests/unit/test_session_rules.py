"""How an append and a reset change a session, and what a question requires."""

from dataclasses import replace

import pytest

from chatbot.domain.chat import (
    InterruptReason,
    Message,
    MessageRange,
    MessageRole,
    Question,
    Session,
    SessionId,
    TurnId,
    title_of,
)
from chatbot.domain.memory import Memory
from samples import ANA, T0

LATER = T0.replace(year=2027)
SESSION = Session(id=SessionId("1" * 32), owner=ANA, created_at=T0, updated_at=T0)
TURN, NEXT_TURN = TurnId("a" * 32), TurnId("b" * 32)
QUESTION = Question(
    owner=ANA,
    session_id=SESSION.id,
    turn_id=NEXT_TURN,
    text="And now?",
    ts=LATER,
    summarized_step=4,
    history_limit=8,
)


def by(role: MessageRole, content: str) -> Message:
    return Message(role=role, content=content, ts=LATER, turn_id=TURN)


def test_first_message_of_the_user_becomes_the_title() -> None:
    greeting = by(MessageRole.ASSISTANT, "welcome")
    first, second = by(MessageRole.USER, "ñ" * 61), by(MessageRole.USER, "second")
    session = SESSION
    for message in (greeting, first, second):
        session, _ = session.appended(message)
    assert session == replace(
        SESSION, title="ñ" * 60, updated_at=LATER, message_count=3, last_seq=3
    )
    assert title_of([greeting, first, second]) == "ñ" * 60
    assert title_of([greeting]) == ""


def test_numbers_continue_after_a_reset() -> None:
    session = SESSION
    for _ in range(3):
        session, numbered = session.appended(by(MessageRole.USER, "again"))
    session = session.was_reset(LATER)
    assert (numbered.seq, session.reset_at, session.message_count) == (3, 3, 0)
    assert (session.title, session.epoch, session.updated_at) == ("", 1, LATER)
    session, numbered = session.appended(by(MessageRole.USER, "new"))
    assert (numbered.seq, session.reset_at, session.title) == (4, 3, "new")


@pytest.mark.parametrize(("summarized_to", "after"), [(0, 0), (3, 0), (4, 4), (11, 8)])
def test_history_leaves_the_prompt_in_whole_steps(summarized_to: int, after: int) -> None:
    found = QUESTION.history(Memory(summarized_to=summarized_to))
    assert found == MessageRange(limit=8, after=after)


def test_question_without_an_answer_is_closed_before_the_next_one() -> None:
    asked = Message(role=MessageRole.USER, content="And now?", ts=LATER, turn_id=NEXT_TURN)
    unanswered, answered = by(MessageRole.USER, "?"), by(MessageRole.ASSISTANT, "!")
    assert QUESTION.messages_after([]) == (asked,)
    assert QUESTION.messages_after([unanswered, answered]) == (asked,)
    crashed = replace(by(MessageRole.ASSISTANT, ""), reason=InterruptReason.CRASH)
    assert QUESTION.messages_after([answered, unanswered]) == (crashed, asked)
