"""The parts that turn texts into vectors, together; without an embedding model, none of them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from chatbot.application.document_vectors import DocumentVectors
from chatbot.application.passage_vectors import PassageVectors
from chatbot.application.recall_plan import MemoryRecall
from chatbot.application.vector_parents import SessionParent
from chatbot.application.vector_queue import VectorQueue
from chatbot.application.vector_reindexing import VectorReindexing
from chatbot.application.vector_writer import VectorWriter
from chatbot.domain.chat import SessionId
from chatbot.domain.identity import Owner
from chatbot.domain.ports.embedder import Embedder
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.storage import Storage
from chatbot.domain.ports.telemetry import Telemetry
from chatbot.entrypoints.container.embedding_parts import build_embedder, build_late_embedder
from chatbot.entrypoints.settings import Settings

_AT_ONCE = 32
"""Texts of a call: while its vectors are read, nobody is answered."""
_PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The embedding model, and what calls it besides searches."""

    embedder: Embedder | None = None
    queue: VectorQueue | None = None
    documents: DocumentVectors | None = None
    has_messages: bool = False
    question_timeout_s: float = 5.0

    def answered(self, owner: Owner, session_id: SessionId) -> None:
        """Have the messages of a turn embedded in the background."""
        if self.queue is not None and self.has_messages:
            self.queue.add(SessionParent(owner, session_id))

    async def drain(self) -> None:
        """Finish what waits, for commands."""
        if self.queue is not None:
            await self.queue.drain()

    async def settle(self) -> None:
        """Finish what waits, within the time that a search would wait."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.question_timeout_s):
                await self.drain()

    async def aclose(self) -> None:
        """End at once."""
        if self.queue is not None:
            await self.queue.aclose()
        if self.embedder is not None:
            await self.embedder.aclose()


NO_EMBEDDINGS = Embeddings()


def build_embeddings(
    settings: Settings,
    storage: Storage,
    telemetry: Telemetry,
    genkit_model: Callable[[], ChatModel],
) -> Embeddings:
    """Returns the parts for the service.

    Raises:
        SettingsError: the environment names an unusable proxy or certificate file.
    """
    if settings.embedding.model is None:
        return NO_EMBEDDINGS
    embedder = build_embedder(settings, telemetry, genkit_model())
    return _around(embedder, settings, storage, patience_s=0)


def build_late_embeddings(settings: Settings, storage: Storage) -> Embeddings:
    """Returns the parts for commands; the model is built when it is called for the first time."""
    return _around(build_late_embedder(settings), settings, storage, patience_s=_PATIENCE_S)


def build_vector_reindexing(
    settings: Settings, storage: Storage, embedder: Embedder | None
) -> VectorReindexing:
    """For commands, which wait for a provider that limits the rate."""
    vectors = None if embedder is None else PassageVectors(embedder, patience_s=_PATIENCE_S)
    writer = None if vectors is None else VectorWriter(storage, vectors)
    return VectorReindexing(storage, writer, messages=_has_messages(settings))


def _has_messages(settings: Settings) -> bool:
    """Whether messages may be recalled at all."""
    return settings.recall.memory is MemoryRecall.ITEMS_AND_MESSAGES


def _around(
    embedder: Embedder | None, settings: Settings, storage: Storage, *, patience_s: float
) -> Embeddings:
    if embedder is None:
        return NO_EMBEDDINGS
    vectors = PassageVectors(embedder, at_once=_AT_ONCE, patience_s=patience_s)
    queue = VectorQueue(VectorWriter(storage, vectors))
    return Embeddings(
        embedder=embedder,
        queue=queue,
        documents=DocumentVectors(vectors, queue),
        has_messages=_has_messages(settings),
        question_timeout_s=settings.embedding.timeout_s,
    )
