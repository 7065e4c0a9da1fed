"""Data recalled for a turn: items of memory, messages of other sessions, passages of documents."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from chatbot.domain.chat import MessageRole
from chatbot.domain.memory import Memory, RecalledItem, recollections

ItemKind = Literal["profile", "preference", "fact", "todo"]


class Decision(StrEnum):
    """A rule that decided what a turn may recall; stored with the answer."""

    RECALL_OFF = "memory_recall_off"
    """MEMORY_RECALL=off."""
    MESSAGES_OFF = "message_recall_off"
    """MEMORY_RECALL=items."""
    MEMORY_DISABLED = "memory_disabled_by_person"
    OTHER_SESSIONS_DISABLED = "other_sessions_disabled_by_person"
    DOCUMENTS_OFF = "documents_off"
    """DOCUMENTS_IN_CHAT=off."""
    DOCUMENTS_DECLINED = "documents_off_in_request"
    DOCUMENTS_NOT_PERMITTED = "documents_not_permitted"
    NO_DOCUMENTS = "no_readable_documents"
    NOTHING_RELEVANT = "no_relevant_passage"
    WITH_PREVIOUS_QUESTION = "searched_with_previous_question"
    SEARCH_FAILED = "search_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentChoice:
    """The choice of documents in a request: only those with one of the labels, or none at all."""

    labels: tuple[str, ...] = ()
    is_off: bool = False


ALL_DOCUMENTS = DocumentChoice()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownItem:
    """An item of memory for a prompt. Its source is the message from which it was learned, if any.

    `rank` counts from 1 among the items of other sessions that a search has found.
    """

    id: str
    kind: ItemKind
    key: str | None = None
    text: str
    session_id: str | None = None
    seq: int | None = None
    rank: int | None = None

    @property
    def as_recalled(self) -> RecalledItem:
        return RecalledItem(
            id=self.id,
            kind=self.kind,
            text=f"{self.key}: {self.text}" if self.key else self.text,
            session_id=self.session_id,
            seq=self.seq,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PastMessage:
    """A message of another session of the same person, or the part of it that matches the question."""

    session_id: str
    seq: int
    role: MessageRole
    text: str
    ts: datetime
    rank: int

    @property
    def id(self) -> str:
        return f"{self.session_id}:{self.seq}"

    @property
    def as_recalled(self) -> RecalledItem:
        return RecalledItem(
            id=self.id, kind="message", text=self.text, session_id=self.session_id, seq=self.seq
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalledPassage:
    """A passage of a document that the caller may read.

    `start` and `end` are its offsets in the text of that version, in code points.
    """

    document_id: str
    version: int
    seq: int
    title: str
    heading: str = ""
    text: str
    start: int
    end: int
    rank: int

    @property
    def id(self) -> str:
        return f"{self.document_id}:{self.version}:{self.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What was found for a turn, best first. `passages` is None if no documents were searched."""

    items: tuple[KnownItem, ...] = ()
    messages: tuple[PastMessage, ...] = ()
    passages: tuple[RecalledPassage, ...] | None = None
    decisions: tuple[Decision, ...] = ()


def items_of(memory: Memory) -> tuple[KnownItem, ...]:
    """Return the items of a session's memory."""
    found: list[KnownItem] = []
    for each in recollections(memory):
        match each.kind:
            case "profile" | "preference" as kind:
                key = each.id.removeprefix(f"{kind}.")
                text = each.text.removeprefix(f"{key}: ")
                found.append(KnownItem(id=each.id, kind=kind, key=key, text=text))
            case "fact" | "todo" as kind:
                found.append(KnownItem(id=each.id, kind=kind, text=each.text))
            case _:
                pass
    return tuple(found)
