"""Which passages of a session or a document lack a vector, and where their vectors are put."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from chatbot.application import document_index
from chatbot.domain.chat import Message, MessageRange, SessionId
from chatbot.domain.documents import Document, DocumentId
from chatbot.domain.errors import NotFound
from chatbot.domain.identity import Owner
from chatbot.domain.person_memory import PersonMemory
from chatbot.domain.search import Embedded, Passage, Scope, messages_scope, passages_of
from chatbot.domain.transaction import Transaction

_READ_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The vectors that are looked for: of a model and, if it is known, of a dimension."""

    model: str
    dimension: int | None = None


class VectorParent(Protocol):
    """A session or a document."""

    @abstractmethod
    def lacking(
        self, tx: Transaction, wanted: Wanted, *, after: int | None, limit: int
    ) -> Sequence[Passage]:
        """Return the first passages without a vector whose number is higher than `after`.

        With None, those that are newer than all passages with a vector. What must not be recalled
        lacks nothing: it is sent to no embedding model.
        """

    @abstractmethod
    def put(self, tx: Transaction, embedded: Embedded) -> None:
        """Store the vectors of passages that are still there."""


@dataclass(frozen=True, slots=True)
class SessionParent(VectorParent):
    """A session, whose messages are the passages."""

    owner: Owner
    session_id: SessionId

    def lacking(
        self, tx: Transaction, wanted: Wanted, *, after: int | None, limit: int
    ) -> Sequence[Passage]:
        person = tx.person_memories.of(self.owner)
        if not (person.settings.enabled and person.settings.cross_session):
            return []
        there = numbers_with_vectors(tx, self._scope, self.session_id, wanted)
        first = max(there, default=0) if after is None else after
        allowed = filter(_Allowed(person, self.session_id), self._messages(tx, first))
        passages = (each for each in passages_of(allowed) if each.seq not in there)
        return list(islice(passages, limit))

    def put(self, tx: Transaction, embedded: Embedded) -> None:
        # The number of a message is never used twice, and a message never changes.
        tx.index.put_vectors(self._scope, self.session_id, embedded)

    @property
    def _scope(self) -> Scope:
        return messages_scope(self.owner)

    def _messages(self, tx: Transaction, after: int) -> Iterator[Message]:
        """Yield the messages; none of a session that was deleted."""
        try:
            while messages := tx.sessions.read(
                self.owner,
                self.session_id,
                MessageRange(limit=_READ_AT_ONCE, after=after, oldest=True),
            ):
                yield from messages
                after = messages[-1].seq
        except NotFound:
            return


@dataclass(frozen=True, slots=True)
class DocumentParent(VectorParent):
    """The version of a document that answers, if it is the one with this number."""

    document_id: DocumentId
    version: int

    def lacking(
        self, tx: Transaction, wanted: Wanted, *, after: int | None, limit: int
    ) -> Sequence[Passage]:
        document = self._document(tx)
        if document is None or document.live is None:
            return []
        there = numbers_with_vectors(tx, document.scope, document.id, wanted)
        first = max(there, default=0) if after is None else after
        numbers = (n for n in range(first + 1, document.live.passages + 1) if n not in there)
        keys = [(document.id, n) for n in islice(numbers, limit)]
        found = tx.documents.passages(keys)
        return document_index.indexed_form([found[key].passage for key in keys if key in found])

    def put(self, tx: Transaction, embedded: Embedded) -> None:
        tx.documents.lock()
        if (document := self._document(tx)) is not None:
            tx.index.put_vectors(document.scope, document.id, embedded)

    def _document(self, tx: Transaction) -> Document | None:
        document = tx.documents.get(self.document_id)
        is_same = document and document.live and document.live.number == self.version
        return document if is_same else None


def numbers_with_vectors(
    tx: Transaction, scope: Scope, parent: str, wanted: Wanted
) -> frozenset[int]:
    """Return the numbers of the passages that have such a vector."""
    found = tx.index.vectors_of(scope, wanted.model, dimension=wanted.dimension, parent=parent)
    return found.get(parent, frozenset())


def doubtful(scope: Scope, wanted: Wanted, tx: Transaction) -> Sequence[str]:
    """Return the sessions or documents of an access class with fewer vectors than passages."""
    there = tx.index.vectors_of(scope, wanted.model, dimension=wanted.dimension)
    indexed = tx.index.indexed(scope)
    return [each for each, count in indexed.items() if len(there.get(each, ())) < count]


class _Allowed:
    """Whether a message may be recalled, as far as its person is concerned."""

    def __init__(self, person: PersonMemory, session_id: SessionId) -> None:
        self._person = person
        self._hidden = {seq for session, seq in person.hidden_messages if session == session_id}

    def __call__(self, message: Message) -> bool:
        return message.seq not in self._hidden and self._person.allows_recall(message)
