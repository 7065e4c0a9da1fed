"""What is kept of an answer besides its text: its citations, and what its prompt was made of."""

from dataclasses import dataclass, field, replace
from typing import Literal

from chatbot.domain.stored import Stored

_SPARSE = Stored(is_sparse=True).metadata()

PartKind = Literal["system", "summary", "item", "message", "recalled", "passage", "question"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A passage that the answer names by its mark `[n]`.

    `seq` is the number of the passage in that version of the document, `start` and `end` are offsets
    in its text, in code points. An answer is stored with references only: title, heading and quote
    are read from the document whenever the answer is shown, so that they are gone with it.
    """

    n: int
    document_id: str
    version: int
    seq: int = 0
    start: int
    end: int
    title: str = field(default="", metadata=_SPARSE)
    heading: str = field(default="", metadata=_SPARSE)
    quote: str = field(default="", metadata=_SPARSE)

    @property
    def reference(self) -> "Citation":
        """The citation as it is stored."""
        return replace(self, title="", heading="", quote="")


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
