"""Raises the scores of the best passages by their texts: exact forms of words, and pairs of words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from chatbot.adapters.search.analyser import words_of
from chatbot.adapters.search.languages import DEFAULT, languages
from chatbot.adapters.search.questions import Question
from chatbot.adapters.search.weighting import Weights

_B = 0.75
_TEXT_LENGTH = 1.8
"""How many words a text has for each of its terms."""


class ExactForms:
    """Looks in texts for a question. `idf` has the words of it that are in some passage."""

    def __init__(
        self, question: Question, idf: Mapping[str, float], weights: Weights, mean_length: float
    ) -> None:
        self._idf, self._weights = idf, weights
        self._words = [word for word in question.words if word in idf]
        self._pairs = dict.fromkeys(pairwise(self._words))
        self._passed_over = languages()[DEFAULT].stop_words.difference(idf)
        self._mean = max(1.0, _TEXT_LENGTH * mean_length)

    def added_by(self, text: str) -> tuple[float, float]:
        """Returns what a text adds to a score: for exact forms, and for pairs."""
        words = words_of(text)
        counts = Counter(word for word in words if word in self._idf)
        exact = self._weights.exact * self._exact(counts, len(words))
        has_pairs = counts.total() > 1
        return exact, self._weights.pairs * self._paired(words) if has_pairs else 0.0

    def _exact(self, counts: Counter[str], length: int) -> float:
        k1 = self._weights.k1
        norm = k1 * (1 - _B) + k1 * _B * length / self._mean
        return sum(
            self._idf[word] * (k1 + 1) * counts[word] / (counts[word] + norm)
            for word in dict.fromkeys(self._words)
            if counts[word]
        )

    def _paired(self, words: Sequence[str]) -> float:
        """Returns the rarity of the pairs in a text; stop words may be between their words."""
        kept = [word for word in words if word not in self._passed_over]
        found = set(pairwise(kept))
        return sum(self._idf[a] + self._idf[b] for a, b in self._pairs if (a, b) in found)
