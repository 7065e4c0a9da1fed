"""The questions that are labelled by hand, in bench/data."""

import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatbot.domain.chat import MessageRole

DATA = Path(__file__).resolve().parents[2] / "bench" / "data"
_ROLES = {"u": MessageRole.USER, "a": MessageRole.ASSISTANT}


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentQuestion:
    """A question, and the phrases that stand together in the passage that answers it.

    `also` are files and phrases of other versions of the document.
    """

    language: str
    text: str
    file: str
    phrases: tuple[str, ...]
    also: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def is_answered_by(self, file: str, passage: str) -> bool:
        """Whether the passage of that file holds the answer."""
        found = one_spaced(passage)
        return any(
            file == each and all(one_spaced(phrase) in found for phrase in phrases)
            for each, phrases in ((self.file, self.phrases), *self.also)
        )


def document_questions() -> Sequence[DocumentQuestion]:
    """Returns the questions about examples/documents."""
    return _questions(_read("documents_questions.toml"))


def unseen_questions() -> Sequence[DocumentQuestion]:
    """Returns the questions about bench/data/unseen_documents."""
    return _questions(_read("unseen_questions.toml"))


def unseen_documents() -> Mapping[str, str]:
    """Returns the title of each file of bench/data/unseen_documents."""
    return {each["file"]: each["title"] for each in _read("unseen_questions.toml")["documents"]}


def unanswerable_questions() -> Mapping[str, Sequence[str]]:
    """Returns the questions of each language that no document answers."""
    nowhere = _read("unseen_questions.toml")["nowhere"]
    return {each["language"]: each["questions"] for each in nowhere}


def _questions(found: dict[str, Any]) -> Sequence[DocumentQuestion]:
    return [
        DocumentQuestion(
            language=each["language"],
            text=text,
            file=each["file"],
            phrases=tuple(phrases),
            also=tuple(
                (file, tuple(others))
                for asked, file, *others in each.get("also", ())
                if asked == text
            ),
        )
        for each in found["documents"]
        for text, *phrases in each["questions"]
    ]


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((DATA / name).read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidMessage:
    """A message of a labelled conversation."""

    role: MessageRole
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryQuestion:
    """A question of a person, and the numbers of the messages of one session that answer it."""

    text: str
    session: int
    evidence: tuple[int, ...]

    def is_answered_by(self, session: str, seq: int) -> bool:
        """Whether that message holds the answer."""
        return session == session_name(self.session) and seq in self.evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rememberer:
    """A person who has talked in many sessions, and asks about it."""

    name: str
    language: str
    sessions: tuple[tuple[SaidMessage, ...], ...]
    questions: tuple[MemoryQuestion, ...]


def session_name(number: int) -> str:
    """Returns the id under which a session is indexed."""
    return f"{number:032x}"


def people_with_memories() -> Sequence[Rememberer]:
    found = _read("memory_questions.toml")
    return [
        Rememberer(
            name=person["name"],
            language=person["language"],
            sessions=tuple(
                tuple(map(_said, session["messages"])) for session in person["sessions"]
            ),
            questions=tuple(
                MemoryQuestion(text=text, session=number, evidence=tuple(evidence))
                for number, session in enumerate(person["sessions"])
                for text, *evidence in session["questions"]
            ),
        )
        for person in found["people"]
    ]


def _said(line: str) -> SaidMessage:
    speaker, _, text = line.partition(" ")
    return SaidMessage(role=_ROLES[speaker], text=text)


def one_spaced(text: str) -> str:
    """Returns the text with one blank between its words, and without Markdown's bold and table marks."""
    return " ".join(text.replace("**", "").replace("|", " ").split())


def without_accents(text: str) -> str:
    """Returns the text as people type it in a hurry; `ñ` becomes `n`."""
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(mark for mark in decomposed if not unicodedata.combining(mark))
