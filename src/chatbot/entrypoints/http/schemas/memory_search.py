"""Schemas of the search in a person's memory."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import Field

from chatbot.application.memory_search import MAX_RESULTS, MemoryResult, ResultType
from chatbot.entrypoints.http.schemas.base import (
    CREATED_AT,
    SESSION_ID,
    Answer,
    Body,
    Timestamp,
    example,
    is_none,
)

MAX_QUERY_CHARS = 2000


class MemorySearchBody(Body):
    model_config = example({"query": "the trip to Lisbon", "limit": 5})

    query: str = Field(min_length=1, max_length=MAX_QUERY_CHARS, description="What to search for.")
    limit: int = Field(
        default=10, ge=1, le=MAX_RESULTS, description="The maximum number of results."
    )
    types: list[Annotated[ResultType, Field(strict=False)]] = Field(
        default=list(ResultType),
        description="What to search for: `item`, `message` or both.",
        min_length=1,
        max_length=len(ResultType),
    )


class WhyAnswer(Answer):
    model_config = example({"terms": {"lisbon": 4.2, "trip": 1.1}, "neighbours": {"trip": -1}})

    terms: Mapping[str, float] = Field(
        description="The words of the query that match, with their weights."
    )
    neighbours: Mapping[str, int] = Field(
        description="Words that occur in a neighbouring message: -1 is the message before, 1 the one after."
    )
    meaning: float | None = Field(
        default=None,
        exclude_if=is_none,
        description="What its meaning adds, or takes if it is negative, with an embedding model.",
    )


class ResultAnswer(Answer):
    model_config = example(
        {
            "type": "message",
            "session_id": SESSION_ID,
            "seq": 7,
            "ts": CREATED_AT,
            "text": "The trip was great.",
            "why": {"terms": {"lisbon": 2.5, "trip": 3.1}, "neighbours": {"lisbon": -1}},
        }
    )

    type: ResultType = Field(description="An `item` of memory, or a `message`.")
    id: str | None = Field(default=None, exclude_if=is_none, description="The id of the item.")
    session_id: str | None = Field(
        description="The session of the message, or of the message from which the item was learned."
    )
    seq: int | None = Field(description="The number of that message in its session.")
    ts: Timestamp = Field(description="When the message was written, or the item was last changed.")
    text: str = Field(description="The text of the item or message.")
    why: WhyAnswer = Field(description="Why it was found.")


class ResultsAnswer(Answer):
    model_config = example({"results": []})

    results: list[ResultAnswer] = Field(description="The results, best first.")

    @classmethod
    def of(cls, found: Sequence[MemoryResult]) -> Self:
        return cls(results=[_result(each) for each in found])


def _result(found: MemoryResult) -> ResultAnswer:
    words = found.why.words
    why = WhyAnswer(
        terms={word: round(weight, 4) for word, (weight, _) in words.items()},
        neighbours={word: offset for word, (_, offset) in words.items() if offset},
        meaning=found.why.meaning or None,
    )
    return ResultAnswer.model_validate(
        {
            "type": found.type,
            "id": found.id,
            "session_id": found.session_id,
            "seq": found.seq,
            "ts": found.ts,
            "text": found.text,
            "why": why,
        }
    )
