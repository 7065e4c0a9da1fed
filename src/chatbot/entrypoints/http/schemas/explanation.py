"""Schemas of the explanation of an answer."""

from typing import Literal, Self

from pydantic import Field

from chatbot.application.explanation import ExplainedPart, Explanation
from chatbot.domain.chat import SessionId
from chatbot.entrypoints.http.schemas.base import (
    DOCUMENT_ID,
    SESSION_ID,
    TURN_ID,
    Answer,
    Json,
    example,
    is_none,
)
from chatbot.entrypoints.http.schemas.citations import CITATION, CitationSchema, citation_of

_PASSAGE: Json = {
    "kind": "passage",
    "id": f"{DOCUMENT_ID}:1:7",
    "tokens": 210,
    "included": True,
    "rank": 1,
    "n": 1,
    "title": CITATION.title,
    "heading": CITATION.heading,
    "text": CITATION.quote,
}
_MESSAGES: Json = {
    "kind": "message",
    "id": "1-8",
    "tokens": 900,
    "included": False,
    "reason": "budget",
    "session_id": SESSION_ID,
    "first_seq": 1,
    "last_seq": 8,
}


class PartSchema(Answer):
    kind: Literal["system", "summary", "item", "message", "recalled", "passage", "question"] = (
        Field(
            description="What the part is. `message`: messages of this session. `recalled`: a message of "
            "another session."
        )
    )
    id: str = Field(
        description="Of an item: its id. Of a recalled message: session and number. Of a passage: document, "
        "version and number. Otherwise: the numbers of the messages, or empty."
    )
    tokens: int = Field(description="The number of tokens, as estimated when the prompt was built.")
    included: bool = Field(description="Whether the prompt contained it.")
    reason: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="Why it was left out: `budget`, `summarized`, `refused` by the provider, "
        "`interrupted`, or `retry`: the provider refused a prompt that contained it.",
    )
    rank: int | None = Field(
        default=None, exclude_if=is_none, description="Its rank in the search results."
    )
    n: int | None = Field(
        default=None, exclude_if=is_none, description="The number of a passage in the prompt."
    )
    text: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="The text of an item, a recalled message or a passage; absent if it is no "
        "longer stored.",
    )
    title: str | None = Field(
        default=None, exclude_if=is_none, description="The title of the document."
    )
    heading: str | None = Field(
        default=None, exclude_if=is_none, description="The headings above the passage."
    )
    session_id: str | None = Field(
        default=None, exclude_if=is_none, description="The session of the messages."
    )
    first_seq: int | None = Field(
        default=None, exclude_if=is_none, description="The number of the first message."
    )
    last_seq: int | None = Field(
        default=None, exclude_if=is_none, description="The number of the last message."
    )

    @classmethod
    def of(cls, explained: ExplainedPart) -> Self:
        part = explained.part
        return cls(
            kind=part.kind,
            id=part.id,
            tokens=part.tokens,
            included=part.reason is None,
            reason=part.reason,
            rank=part.rank,
            n=explained.n,
            text=explained.text,
            title=explained.title,
            heading=explained.heading,
            session_id=explained.session_id,
            first_seq=explained.first,
            last_seq=explained.last,
        )


class ExplanationAnswer(Answer):
    model_config = example(
        {
            "session_id": SESSION_ID,
            "turn_id": TURN_ID,
            "seq": 10,
            "parts": [_PASSAGE, _MESSAGES],
            "decisions": ["message_recall_off"],
            "citations": [citation_of(CITATION)],
        }
    )

    session_id: str = Field(description="The id of the session.")
    turn_id: str = Field(description="The turn.")
    seq: int = Field(description="The number of the answer in its session.")
    parts: list[PartSchema] = Field(
        description="The parts of the prompt, and those that were found but left out. Passages of documents "
        "that the caller may no longer read are not listed."
    )
    decisions: list[str] = Field(
        description="Codes of the settings and rules that decided what could be recalled."
    )
    citations: list[CitationSchema] = Field(description="The citations of the answer.")

    @classmethod
    def of(cls, session_id: SessionId, found: Explanation) -> Self:
        return cls(
            session_id=session_id,
            turn_id=found.answer.turn_id,
            seq=found.answer.seq,
            parts=[PartSchema.of(part) for part in found.parts],
            decisions=list(found.decisions),
            citations=[CitationSchema.model_validate(each) for each in found.citations],
        )
