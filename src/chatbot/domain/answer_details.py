"""What is stored with an answer besides its text: its citations, and the parts of its prompt."""

from dataclasses import dataclass, field, replace
from typing import Literal

from chatbot.domain.stored import Stored

_SPARSE = Stored(is_sparse=True).metadata()

PartKind = Literal["system", "summary", "item", "message", "recalled", "passage", "question"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A passage that the answer cites with the mark `[n]`.

    `seq` is the number of the passage in that version of the document, `start` and `end` are offsets
    in its text, in code points. An answer is stored with references only: title, heading and quote
    are read from the document whenever the answer is shown, so they disappear with the document.
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
        """The stored citation."""
        return replace(self, title="", heading="", quote="")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPart:
    """One part of a prompt, by reference: its text is that of the message, item or passage `id`.

    `rank` counts from 1 among the recalled parts of the same kind. A part with a `reason` was left out.
    """

    kind: PartKind
    id: str = ""
    tokens: int = 0
    rank: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDetails:
    """The details of one answer. `decisions` are codes of policy decisions."""

    citations: tuple[Citation, ...] = ()
    parts: tuple[PromptPart, ...] = ()
    decisions: tuple[str, ...] = ()
