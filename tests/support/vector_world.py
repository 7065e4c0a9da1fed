"""A store with sessions and documents, a fake embedding model, and what writes its vectors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from canaries import plant_document
from chatbot.application.passage_vectors import PassageVectors
from chatbot.application.vector_parents import SessionParent
from chatbot.application.vector_queue import VectorQueue
from chatbot.application.vector_writer import VectorWriter
from chatbot.domain.chat import MessageRole, Session, SessionId, TurnId
from chatbot.domain.identity import Owner, UserId
from chatbot.domain.person_memory import MemorySettings, PersonMemory
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Scope, messages_scope
from chatbot.domain.transaction import Transaction
from embedding_calls import FakeEmbedder
from samples import ANA, T0, new_message

ONE, TWO = SessionId("1" * 32), SessionId("2" * 32)
_TURN = TurnId("9" * 32)


@dataclass
class VectorWorld:
    storage: Storage
    embedder: FakeEmbedder = field(default_factory=FakeEmbedder)

    def __post_init__(self) -> None:
        self.writer = VectorWriter(self.storage, PassageVectors(self.embedder))

    def queue(self) -> VectorQueue:
        """A queue that does not wait."""

        async def sleep(_: float) -> None:
            return

        return VectorQueue(self.writer, sleep=sleep)

    async def say(
        self, *texts: str, owner: Owner = ANA, session_id: SessionId = ONE
    ) -> SessionParent:
        """Append messages to a session, which is new if there is none; the first is the person's."""

        def work(tx: Transaction) -> None:
            if all(each.id != session_id for each in tx.sessions.page(owner, limit=99)):
                new = Session(id=session_id, owner=owner, title="", created_at=T0, updated_at=T0)
                tx.sessions.create(new)
            with tx.sessions.held(owner, session_id, _TURN) as lease:
                for number, text in enumerate(texts):
                    role = (MessageRole.USER, MessageRole.ASSISTANT)[number % 2]
                    tx.sessions.append(lease, new_message(lease, role, text, ts=T0))

        await self.storage.transact(work)
        return SessionParent(owner, session_id)

    async def plant(self, text: str, *, number: int = 0, passages: int = 3) -> Scope:
        """A document whose passages are not embedded."""
        document = await self.storage.transact(
            lambda tx: plant_document(tx, UserId(ANA.id), text, number=number, passages=passages)
        )
        return document.scope

    async def settle(self, settings: MemorySettings, owner: Owner = ANA) -> None:
        """Change the settings of a person's memory."""
        await self.change(lambda person: person.with_settings(settings), owner)

    async def change(
        self, change: Callable[[PersonMemory], PersonMemory], owner: Owner = ANA
    ) -> None:
        await self.storage.transact(lambda tx: tx.person_memories.change(owner, change))

    async def vectors(self, scope: Scope | None = None) -> Mapping[str, Sequence[int]]:
        """The numbers of the passages with a vector, by session or document."""
        model = self.embedder.model
        where = messages_scope(ANA) if scope is None else scope
        found = await self.storage.transact(lambda tx: tx.index.vectors_of(where, model))
        return {parent: sorted(numbers) for parent, numbers in found.items()}
