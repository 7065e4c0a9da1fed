"""What is kept of an answer besides its text: its citations, and what its prompt was made of."""

from dataclasses import dataclass
from typing import Literal

PartKind = Literal["system", "summary", "item", "message", "recalled", "passage", "question"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A passage that the answer names by its mark `[n]`.

    `start` and `end` are offsets in the text of that version of the document, in code points.
    """

    n: int
    document_id: str
    version: int
    title: str
    heading: str = ""
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPart:
    """One part of a prompt, by reference: its text is that of the message, item or passage `id`.

    `rank` counts from 1 among what was recalled of its kind. A part with a `reason` was left out.
    """

    kind: PartKind
    id: str = ""
    tokens: int = 0
    rank: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDetails:
    """The details of one answer. `decisions` are those of policies, as codes."""

    citations: tuple[Citation, ...] = ()
    parts: tuple[PromptPart, ...] = ()
    decisions: tuple[str, ...] = ()
