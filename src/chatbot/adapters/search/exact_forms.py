"""What the texts of the best passages add to their scores: exact forms of words, and pairs of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from chatbot.adapters.search.analyser import words_of
from chatbot.adapters.search.languages import DEFAULT, languages
from chatbot.adapters.search.questions import Question
from chatbot.adapters.search.weighting import Weights
from chatbot.domain.search import Hit

_B = 0.75
_TEXT_LENGTH = 1.8
"""How many words a text has for each of its terms."""
_DIGITS, _SHOWN_DIGITS = 9, 3


class ExactForms:
    """Adds to hits what their texts say. `idf` has the words of the question that are in some passage."""

    def __init__(
        self, question: Question, idf: Mapping[str, float], weights: Weights, mean_length: float
    ) -> None:
        self._idf, self._weights = idf, weights
        self._words = [word for word in question.words if word in idf]
        self._pairs = dict.fromkeys(pairwise(self._words))
        self._mean = max(1.0, _TEXT_LENGTH * mean_length)

    def added_to(self, hits: Sequence[Hit], texts: Mapping[tuple[str, int], str]) -> list[Hit]:
        """Returns the hits with their scores raised; those without a text no longer exist."""
        known = (hit for hit in hits if (hit.parent, hit.seq) in texts)
        return [self._added(hit, words_of(texts[hit.parent, hit.seq])) for hit in known]

    def _added(self, hit: Hit, words: Sequence[str]) -> Hit:
        exact = self._weights.exact * self._exact(words)
        pairs = self._weights.pairs * self._paired(words)
        why = replace(hit.why, exact=round(exact, _SHOWN_DIGITS), pairs=round(pairs, _SHOWN_DIGITS))
        return replace(hit, score=round(hit.score + exact + pairs, _DIGITS), why=why)

    def _exact(self, words: Sequence[str]) -> float:
        counts, k1 = Counter(words), self._weights.k1
        norm = k1 * (1 - _B) + k1 * _B * len(words) / self._mean
        return sum(
            self._idf[word] * (k1 + 1) * counts[word] / (counts[word] + norm)
            for word in dict.fromkeys(self._words)
            if counts[word]
        )

    def _paired(self, words: Sequence[str]) -> float:
        stop_words = languages()[DEFAULT].stop_words
        kept = [word for word in words if word not in stop_words or word in self._idf]
        found = set(pairwise(kept))
        return sum(self._idf[a] + self._idf[b] for a, b in self._pairs if (a, b) in found)
