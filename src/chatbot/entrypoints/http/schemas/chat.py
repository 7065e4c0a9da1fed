"""Schemas of a turn."""

from dataclasses import asdict
from typing import Literal

from pydantic import Field

from chatbot.application.turn import Reply
from chatbot.domain.chat import FinishReason, SessionId, TurnId
from chatbot.domain.ports.model import Usage
from chatbot.entrypoints.http.schemas.base import (
    NOTICE,
    PROMPT,
    SESSION_ID,
    TEXT,
    TURN_ID,
    Answer,
    Body,
    example,
    is_none,
)

EXAMPLE = Reply(
    session_id=SessionId(SESSION_ID),
    text=TEXT,
    turn_id=TurnId(TURN_ID),
    finish_reason=FinishReason.STOP,
    usage=Usage(input_tokens=422, output_tokens=9, estimated=False),
    model="openai/a-model",
    memory_used=(),
    notice=NOTICE,
)


def chat_answer(reply: Reply) -> dict[str, object]:
    """Returns the body of `ChatAnswer`, without the cost of validating our own data."""
    body = asdict(reply)
    if reply.notice is None:
        del body["notice"]
    return body


class ChatBody(Body):
    model_config = example({"prompt": PROMPT})

    prompt: str = Field(description="What the user says; at most `MAX_PROMPT_CHARS` characters.")
    session_id: str | None = Field(
        default=None, description="The session to continue; without it, a new session begins."
    )


class UsageSchema(Answer):
    input_tokens: int = Field(description="Tokens that the model read.")
    output_tokens: int = Field(description="Tokens that the model wrote.")
    estimated: bool = Field(
        description="True if the service estimated them because the provider reported none."
    )


class RecalledItemSchema(Answer):
    id: str = Field(description="The id of the item.")
    kind: Literal["profile", "preference", "fact", "todo", "summary"] = Field(
        description="What kind of knowledge it is."
    )
    text: str = Field(description="The text that the prompt contained.")


class ChatAnswer(Answer):
    model_config = example(chat_answer(EXAMPLE))

    session_id: str = Field(description="The session: send it with the next prompt.")
    text: str = Field(description="The answer: plain text or Markdown, as the model writes it.")
    turn_id: str = Field(description="Identifies the question and its answer among the messages.")
    finish_reason: FinishReason = Field(
        description="`stop`: the answer is complete. `length`: it was cut off at the maximum length. "
        "`blocked`: the provider's filter stopped it."
    )
    usage: UsageSchema = Field(description="The tokens of this turn.")
    model: str = Field(description="The model that answered, by its Genkit name.")
    memory_used: list[RecalledItemSchema] = Field(
        description="The remembered items that the prompt contained."
    )
    notice: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="Only in a session's first answer: a sentence to display, which says that this "
        "is an AI system.",
    )
