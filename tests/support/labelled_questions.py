"""The questions that are labelled by hand, in bench/data."""

import tomllib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "bench" / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentQuestion:
    """A question, and the phrases that stand together in the passage that answers it."""

    language: str
    text: str
    file: str
    phrases: tuple[str, ...]

    def is_answered_by(self, file: str, passage: str) -> bool:
        """Whether the passage of that file holds the answer."""
        found = one_spaced(passage)
        return file == self.file and all(one_spaced(phrase) in found for phrase in self.phrases)


def document_questions() -> Sequence[DocumentQuestion]:
    found = tomllib.loads((DATA / "documents_questions.toml").read_text(encoding="utf-8"))
    return [
        DocumentQuestion(
            language=each["language"], text=text, file=each["file"], phrases=tuple(phrases)
        )
        for each in found["documents"]
        for text, *phrases in each["questions"]
    ]


def one_spaced(text: str) -> str:
    """Returns the text with one blank between its words, and without Markdown's bold and table marks."""
    return " ".join(text.replace("**", "").replace("|", " ").split())


def without_accents(text: str) -> str:
    """Returns the text as people type it in a hurry; `ñ` becomes `n`."""
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(mark for mark in decomposed if not unicodedata.combining(mark))
