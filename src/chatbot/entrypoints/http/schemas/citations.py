"""Schemas of citations."""

from pydantic import Field

from chatbot.domain.answer_details import Citation
from chatbot.entrypoints.http.schemas.base import DOCUMENT_ID, Answer, Json

CITATION = Citation(
    n=1,
    document_id=DOCUMENT_ID,
    version=1,
    title="Holidays 2026",
    heading="Managers",
    start=812,
    end=855,
    quote="Managers hand in their plan before 1 March.",
)


def citation_of(citation: Citation) -> Json:
    """Returns the body of a `CitationSchema`."""
    return {name: getattr(citation, name) for name in CitationSchema.model_fields}


class CitationSchema(Answer):
    n: int = Field(description="The number in the mark `[n]` of the text.")
    document_id: str = Field(description="The id of the document.")
    version: int = Field(description="The version of the document that the answer used.")
    title: str = Field(description="The title of the document.")
    heading: str = Field(description="The headings above the passage; may be empty.")
    start: int = Field(
        description="Where the quote begins in the text of that version, in code points."
    )
    end: int = Field(description="Where the quote ends.")
    quote: str = Field(description="The words of the passage that support the answer.")
