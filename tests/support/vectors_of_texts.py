"""Vectors for tests: texts with the same words have similar ones."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from chatbot.domain.ports.embedder import Embedder
from chatbot.domain.search import Embedded, Passage, Vector

MODEL = "openai/made-up"


def vector_of(text: str, dimension: int = 16) -> list[float]:
    """The sum of a pseudo-random vector for each word, and a little of one for the whole text."""
    found = [(number - 127.5) / 5_000 for number in _bytes(text, dimension)]
    for word in text.split():
        found = [a + (b - 127.5) / 500 for a, b in zip(found, _bytes(word, dimension), strict=True)]
    return found


def embedded(
    passages: Iterable[Passage] | Mapping[int, str], *, model: str = MODEL, dimension: int = 16
) -> Embedded:
    texts = (
        passages
        if isinstance(passages, Mapping)
        else {passage.seq: passage.text for passage in passages}
    )
    vectors = {seq: vector_of(text, dimension) for seq, text in texts.items()}
    return Embedded(model=model, vectors=vectors)


class WordEmbedder(Embedder):
    """Makes vectors of words. `asked` has the texts of each call; each fails with `error` if there is one."""

    def __init__(self, dimension: int = 16) -> None:
        self.model, self.dimension = MODEL, dimension
        self.asked: list[Sequence[str]] = []
        self.error: Exception | None = None

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        self.asked.append(texts)
        if self.error is not None:
            raise self.error
        return [vector_of(text, self.dimension) for text in texts]

    async def aclose(self) -> None:
        """Nothing is open."""


def _bytes(text: str, count: int) -> bytes:
    return hashlib.shake_128(text.encode()).digest(count)
