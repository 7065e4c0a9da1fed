"""What vectors add to a search, by definition: all of them are compared, number by number."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from chatbot.domain.search import Hit, Vector

Key = tuple[str, int]


def rounded(vector: Vector) -> list[int]:
    """The vector with whole numbers, the greatest of which is 127."""
    scale = 127 / max(map(abs, vector))
    return [round(number * scale) for number in vector]


def cosine(one: Sequence[int], two: Sequence[int]) -> float:
    product = sum(a * b for a, b in zip(one, two, strict=True))
    return round(product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in two)), 9)


class MeaningOracle:
    """The vectors of all passages that may be read, and that of a question."""

    def __init__(self, vectors: Mapping[Key, Vector], question: Vector) -> None:
        self.vectors = {key: rounded(vector) for key, vector in vectors.items()}
        self.question = rounded(question)

    def closest(self, count: int, without: str | None) -> set[Key]:
        ranked = sorted((self._differing(key), key) for key in self.vectors if key[0] != without)
        return {key for _, key in ranked[:count]}

    def _differing(self, key: Key) -> int:
        pairs = zip(self.vectors[key], self.question, strict=True)
        return sum((a < 0) != (b < 0) for a, b in pairs)

    def added_to(self, hits: Collection[Hit], weight: float) -> list[Hit]:
        cosines = {
            (hit.parent, hit.seq): cosine(self.vectors[hit.parent, hit.seq], self.question)
            for hit in hits
            if (hit.parent, hit.seq) in self.vectors
        }
        mean = math.fsum(cosines.values()) / max(1, len(cosines))
        squares = [(each - mean) ** 2 for each in cosines.values()]
        deviation = math.sqrt(math.fsum(squares) / max(1, len(cosines)))
        if deviation <= 1e-9:
            deviation = 1.0
        return [self._added(hit, cosines, mean, weight / deviation) for hit in hits]

    def _added(self, hit: Hit, cosines: Mapping[Key, float], mean: float, weight: float) -> Hit:
        key = (hit.parent, hit.seq)
        if key not in cosines:
            return hit
        meaning = weight * (cosines[key] - mean)
        likeness = (cosines[key] - self._average) / (1 - self._average)
        why = replace(hit.why, meaning=round(meaning, 3), likeness=round(likeness, 3))
        return replace(hit, score=round(hit.score + meaning, 9), why=why)

    @property
    def _average(self) -> float:
        """The mean over all passages, by signs, drawn to 0 as by 20 more."""
        angles = (math.pi * self._differing(key) / len(self.question) for key in self.vectors)
        return math.fsum(map(math.cos, angles)) / (len(self.vectors) + 20)
