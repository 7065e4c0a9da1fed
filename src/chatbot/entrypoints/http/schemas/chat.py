"""Schemas of a turn."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from chatbot.application.turn import Reply
from chatbot.domain.chat import FinishReason, SessionId, TurnId
from chatbot.domain.memory import RecalledItem
from chatbot.domain.ports.model import Usage
from chatbot.domain.recall import ALL_DOCUMENTS, DocumentChoice
from chatbot.entrypoints.http.schemas.base import (
    NOTICE,
    PROMPT,
    SESSION_ID,
    TURN_ID,
    Answer,
    Body,
    Json,
    example,
    is_none,
)
from chatbot.entrypoints.http.schemas.citations import CITATION, CitationSchema, citation_of

EXAMPLE = Reply(
    session_id=SessionId(SESSION_ID),
    text="Noted, Ana: call HR. Managers hand in their plan before 1 March [1].",
    turn_id=TurnId(TURN_ID),
    finish_reason=FinishReason.STOP,
    usage=Usage(input_tokens=422, output_tokens=9, estimated=False),
    model="openai/a-model",
    memory_used=(
        RecalledItem(
            id="cf07bac87bb12a07af2d57f0e4c6f086",
            kind="todo",
            text="call HR",
            session_id=SESSION_ID,
            seq=1,
        ),
    ),
    citations=(CITATION,),
    notice=NOTICE,
)


def chat_answer(reply: Reply) -> dict[str, object]:
    """Returns the body of `ChatAnswer`, without the cost of validating our own data."""
    body = asdict(reply)
    body["memory_used"] = memory_used_of(reply.memory_used)
    body["citations"] = [citation_of(each) for each in reply.citations]
    if reply.notice is None:
        del body["notice"]
    return body


def memory_used_of(recalled: Iterable[RecalledItem]) -> list[Json]:
    """Returns the items and messages, without fields that are None."""
    return [
        {name: value for name, value in asdict(each).items() if value is not None}
        for each in recalled
    ]


class DocumentsBody(Body):
    labels: list[Annotated[str, StringConstraints(min_length=1, max_length=64)]] = Field(
        default=[],
        max_length=20,
        description="Use only documents with one of these labels. Empty: all that the caller may read.",
    )
    off: bool = Field(default=False, description="True to answer without documents.")


class ChatBody(Body):
    model_config = example({"prompt": PROMPT})

    prompt: str = Field(description="The user's message: at most `MAX_PROMPT_CHARS` characters.")
    session_id: str | None = Field(
        default=None, description="The session to continue. If omitted, a new session is created."
    )
    documents: DocumentsBody | None = Field(
        default=None,
        description="Which documents the answer may use. Default: all that the caller may read.",
    )

    @property
    def choice(self) -> DocumentChoice:
        """The documents that the turn may use."""
        if self.documents is None:
            return ALL_DOCUMENTS
        return DocumentChoice(labels=tuple(self.documents.labels), is_off=self.documents.off)


class UsageSchema(Answer):
    input_tokens: int = Field(description="The number of tokens in the prompts.")
    output_tokens: int = Field(description="The number of tokens in the answers.")
    estimated: bool = Field(
        description="True if the service estimated them because the provider reported none."
    )


class RecalledItemSchema(Answer):
    id: str = Field(description="The id of the item, or the session and number of the message.")
    kind: Literal["profile", "preference", "fact", "todo", "summary", "message"] = Field(
        description="The kind of item, or `message`: a message of another session of the caller."
    )
    text: str = Field(description="The text as it was in the prompt.")
    session_id: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="The session of the message, or of the message from which the item was learned.",
    )
    seq: int | None = Field(
        default=None, exclude_if=is_none, description="The number of that message in its session."
    )


class ChatAnswer(Answer):
    model_config = example(chat_answer(EXAMPLE))

    session_id: str = Field(description="The id of the session. Send it with the next prompt.")
    text: str = Field(description="The answer: plain text or Markdown, as the model writes it.")
    turn_id: str = Field(description="The id of the turn, which the question and its answer share.")
    finish_reason: FinishReason = Field(
        description="`stop`: the answer is complete. `length`: it was cut off at the maximum length. "
        "`blocked`: the provider's filter stopped it."
    )
    usage: UsageSchema = Field(description="The tokens used by this turn.")
    model: str = Field(description="The Genkit name of the model that answered.")
    memory_used: list[RecalledItemSchema] = Field(
        description="The remembered items and recalled messages that the prompt contained."
    )
    citations: list[CitationSchema] = Field(
        description="The passages of documents that the text cites with marks such as `[1]`."
    )
    notice: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="Only in a session's first answer: a sentence to display, saying that this is an "
        "AI system.",
    )
