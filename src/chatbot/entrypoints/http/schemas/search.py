"""Schemas of the search in documents."""

from typing import Self

from pydantic import Field

from chatbot.domain.document_passages import FoundPassage
from chatbot.entrypoints.http.schemas.base import Answer, Body, Json, example
from chatbot.entrypoints.http.schemas.documents import DOCUMENT_ID

_PASSAGE: Json = {
    "document_id": DOCUMENT_ID,
    "version": 2,
    "title": "Expenses",
    "heading": "Travel > Receipts",
    "text": "Receipts are due within 60 days.",
    "start": 1840,
    "end": 1872,
}
MAX_RESULTS = 25


class SearchBody(Body):
    model_config = example({"query": "When are receipts due?", "limit": 5, "labels": ["policies"]})

    query: str = Field(
        min_length=1, max_length=4000, description="What to search for: words or a question."
    )
    limit: int = Field(
        default=10, ge=1, le=MAX_RESULTS, description="The maximum number of passages."
    )
    labels: list[str] = Field(
        default=[], max_length=1000, description="Only documents with one of these labels."
    )


class PassageAnswer(Answer):
    model_config = example(_PASSAGE)

    document_id: str = Field(description="The id of the document.")
    version: int = Field(description="The version of the document.")
    title: str = Field(description="The title of the document.")
    heading: str = Field(description="The headings above the passage, separated by ` > `.")
    text: str = Field(description="The text of the passage.")
    start: int = Field(
        description="Where the passage begins in the text of that version, in code points."
    )
    end: int = Field(description="Where the passage ends.")

    @classmethod
    def of(cls, found: FoundPassage) -> Self:
        return cls(
            document_id=found.document_id,
            version=found.version,
            title=found.title,
            heading=found.passage.heading,
            text=found.passage.text,
            start=found.passage.start,
            end=found.passage.end,
        )


class SearchAnswer(Answer):
    model_config = example({"passages": [_PASSAGE]})

    passages: list[PassageAnswer] = Field(description="The matching passages, best first.")
