"""The vectors of documents that are being published: no failure delays many documents."""

from collections.abc import Sequence

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.document_vectors import DocumentVectors
from chatbot.application.passage_vectors import PassageVectors
from chatbot.domain.errors import ModelUnavailable
from chatbot.domain.search import Passage, Vector
from vector_world import VectorWorld

PASSAGES = [Passage(seq=n, text=f"text {n}") for n in range(1, 101)]


class Publishing:
    """What publishes documents, and its clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        world = VectorWorld(InMemoryStorage())
        self.embedder = world.embedder
        self.vectors = DocumentVectors(
            PassageVectors(world.embedder), world.queue(), seconds=lambda: self.now
        )

    async def calls(self) -> int:
        """How often the model is called for another document."""
        self.embedder.calls.clear()
        await self.vectors.of(PASSAGES)
        return len(self.embedder.calls)


def failing(_: Sequence[str]) -> Sequence[Vector]:
    raise ModelUnavailable


async def test_the_first_passages_are_embedded_before_a_document_is_published() -> None:
    embedded = await Publishing().vectors.of(PASSAGES)
    assert embedded is not None
    assert sorted(embedded.vectors) == [*range(1, 65)]


async def test_after_a_failure_documents_do_not_wait_for_some_time() -> None:
    publishing = Publishing()
    publishing.embedder.answer = failing
    for pause in (10, 20, 40, 80, 160, 320, 600, 600):
        assert await publishing.calls() == 1
        publishing.now += pause - 1
        assert await publishing.calls() == 0
        publishing.now += 1
    publishing.embedder.answer = lambda _: None
    assert await publishing.calls() == 1
    publishing.embedder.answer = failing
    assert await publishing.calls() == 1
    publishing.now += 10
    assert await publishing.calls() == 1
