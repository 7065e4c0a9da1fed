"""Vectors for tests: texts with the same words have similar ones."""

import hashlib
from collections.abc import Iterable, Mapping

from chatbot.domain.search import Embedded, Passage

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


def _bytes(text: str, count: int) -> bytes:
    return hashlib.shake_128(text.encode()).digest(count)
