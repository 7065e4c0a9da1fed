"""Explains which parts the prompt of an answer had, to the owner of the session.

An answer is stored with references to the parts of its prompt, never with their texts. A text is
shown only while its source is stored and the caller may read it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chatbot.application.recalled_texts import readable_documents
from chatbot.application.shown_citations import shown
from chatbot.domain.answer_details import Citation, PromptPart
from chatbot.domain.authorization import require
from chatbot.domain.chat import Message, MessageRange, MessageRole, SessionId
from chatbot.domain.documents import DocumentId
from chatbot.domain.errors import NotFound
from chatbot.domain.identity import Principal
from chatbot.domain.permissions import Permission
from chatbot.domain.person_memory import ItemState, PersonMemory
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction

KEPT = timedelta(days=30)
_MESSAGES_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedPart:
    """A part of a prompt. `text` is None if the part has no text of its own, or it is no longer stored.

    `first` and `last` are the numbers of messages, in the session `session_id`; `n` is the number
    by which the answer could cite a passage.
    """

    part: PromptPart
    text: str | None = None
    title: str | None = None
    heading: str | None = None
    session_id: str | None = None
    first: int | None = None
    last: int | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """An answer, and the parts of its prompt in order, included or left out."""

    answer: Message
    parts: Sequence[ExplainedPart]
    decisions: Sequence[str]
    citations: Sequence[Citation]


class Explanations:
    """Explains answers of the last 30 days."""

    def __init__(self, storage: Storage, *, clock: Clock) -> None:
        self._storage, self._clock = storage, clock

    async def of(self, principal: Principal, session_id: SessionId, turn_id: str) -> Explanation:
        """Return the parts of the prompt of a turn.

        Raises:
            NotFound: the caller has no such session, or the session has no such turn in the last 30
                days.
        """
        require(principal, Permission.CHAT)
        since = self._clock() - KEPT
        return await self._storage.transact(
            lambda tx: _Reader(tx, principal, session_id).explained(turn_id, since)
        )


class _Reader:
    """Reads the texts of parts that are still stored."""

    def __init__(self, tx: Transaction, principal: Principal, session_id: SessionId) -> None:
        self._tx, self._principal, self._session_id = tx, principal, session_id
        self._person: PersonMemory | None = None

    def explained(self, turn_id: str, since: datetime) -> Explanation:
        answer = self._answer(turn_id, since)
        details = answer.details
        if details is None:
            raise NotFound
        passages = [part for part in details.parts if part.kind == "passage"]
        given = [part.id for part in passages if part.reason is None]
        closed = self._closed(passages)
        parts = [self._explained(part, given) for part in details.parts if part.id not in closed]
        [visible] = shown(self._tx, self._principal, [answer])
        return Explanation(
            answer=answer, parts=parts, decisions=details.decisions, citations=visible.citations
        )

    def _answer(self, turn_id: str, since: datetime) -> Message:
        """Search backwards from the newest message, until messages are too old."""
        before: int | None = None
        while True:
            selected = MessageRange(limit=_MESSAGES_AT_ONCE, before=before)
            page = self._tx.sessions.read(self._principal.owner, self._session_id, selected)
            for message in page:
                is_answer = message.role is MessageRole.ASSISTANT
                if is_answer and message.turn_id == turn_id and message.ts >= since:
                    return message
            if not page or page[0].ts < since or page[0].seq == 1:
                raise NotFound
            before = page[0].seq

    def _closed(self, passages: Sequence[PromptPart]) -> frozenset[str]:
        """The passages of documents that the caller may no longer read, which are not listed."""
        ids = {part.id: part.id.partition(":")[0] for part in passages}
        readable = readable_documents(self._tx, self._principal, [*ids.values()])
        return frozenset(key for key, document_id in ids.items() if document_id not in readable)

    def _explained(self, part: PromptPart, given: Sequence[str]) -> ExplainedPart:
        match part.kind:
            case "message" | "question":
                return self._of_messages(part)
            case "item":
                return ExplainedPart(part=part, text=self._item(part.id))
            case "recalled":
                return self._recalled(part)
            case "passage":
                return self._passage(part, given)
            case _:
                return ExplainedPart(part=part)

    def _of_messages(self, part: PromptPart) -> ExplainedPart:
        first, _, last = part.id.partition("-")
        return ExplainedPart(
            part=part, session_id=self._session_id, first=int(first), last=int(last or first)
        )

    def _item(self, item_id: str) -> str | None:
        item = self._memory.find(item_id)
        return None if item is None or item.state is ItemState.FORGOTTEN else item.line

    def _recalled(self, part: PromptPart) -> ExplainedPart:
        session_id, _, number = part.id.partition(":")
        source, seq = SessionId(session_id), int(number)
        text = None if (source, seq) in self._memory.hidden_messages else self._text(source, seq)
        return ExplainedPart(part=part, text=text, session_id=source, first=seq, last=seq)

    def _text(self, session_id: SessionId, seq: int) -> str | None:
        selected = MessageRange(limit=1, before=seq + 1, after=seq - 1)
        try:
            found = self._tx.sessions.read(self._principal.owner, session_id, selected)
        except NotFound:
            return None
        return found[0].content if found else None

    def _passage(self, part: PromptPart, given: Sequence[str]) -> ExplainedPart:
        document_id, version, seq = part.id.split(":")
        key = (DocumentId(document_id), int(seq))
        found = self._tx.documents.passages([key]).get(key)
        n = given.index(part.id) + 1 if part.id in given else None
        if found is None or found.version != int(version):
            return ExplainedPart(part=part, n=n)
        return ExplainedPart(
            part=part,
            text=found.passage.text,
            title=found.title,
            heading=found.passage.heading,
            n=n,
        )

    @property
    def _memory(self) -> PersonMemory:
        if self._person is None:
            self._person = self._tx.person_memories.of(self._principal.owner)
        return self._person
