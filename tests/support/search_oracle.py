"""What a search has to return, by definition: slow, without an index, for comparison with the real one."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from chatbot.adapters.search.analyser import terms_of, words_of
from chatbot.adapters.search.languages import languages
from chatbot.adapters.search.questions import question_of
from chatbot.adapters.search.weighting import Weights
from chatbot.domain.chat import MessageRole
from chatbot.domain.search import Hit, Passage, Reason
from vector_oracle import MeaningOracle

Known = Mapping[tuple[str, int], Passage]
"""All passages that may be read, by parent and number."""
_ROLE_BITS = {MessageRole.USER: 2, MessageRole.ASSISTANT: 4, None: 0}


@dataclass(frozen=True)
class Analysed:
    """A passage with the counts of its terms."""

    passage: Passage

    @property
    def speaker(self) -> str:
        before, colon, after = self.passage.text.partition(":")
        says = self.passage.role and colon and after[:1].isspace() and 0 < len(before) <= 40
        return " ".join(words_of(before)) if says and "\n" not in before else ""

    @cached_property
    def terms(self) -> Counter[int]:
        text = self.passage.text.partition(":")[2] if self.speaker else self.passage.text
        return Counter(terms_of(words_of(f"{self.passage.heading} {text}")))

    @property
    def length(self) -> int:
        return self.terms.total()

    def count(self, terms: Iterable[int]) -> int:
        return max(self.terms[term] for term in terms)


class Oracle:
    """Answers one question from these passages and nothing else."""

    def __init__(
        self,
        known: Known,
        question: str,
        weights: Weights,
        meanings: MeaningOracle | None = None,
    ) -> None:
        self.weights, self.question, self.meanings = weights, question_of(question), meanings
        self.known = {key: Analysed(passage) for key, passage in known.items()}
        named = (each.speaker for each in self.known.values())
        asked = set(self.question.words)
        self.speakers = {s for s in named if asked & set(s.split())} if weights.speaker else set()
        name_words = {word for speaker in self.speakers for word in speaker.split()}
        texts = self.known.values()
        self.words = {
            word: terms
            for word, terms in self.question.terms.items()
            if word not in name_words and any(text.count(terms) for text in texts)
        }
        self.idf = {
            word: _rarity(len(texts), [text.count(terms) for text in texts])
            for word, terms in self.words.items()
        }

    def hits(self, limit: int, *, without: str | None = None) -> Sequence[Hit]:
        """Returns the best hits in order, by words alone."""
        return _in_order(self._candidates(limit, without), limit)

    def with_texts(self, limit: int) -> Sequence[Hit]:
        """Returns the best hits in order, with exact forms and pairs of words."""
        return _in_order(map(self._exact, self._candidates(limit, None)), limit)

    @cached_property
    def _mean(self) -> float:
        return sum(each.length for each in self.known.values()) / len(self.known)

    def _bm25(self, word: str, key: tuple[str, int]) -> float:
        k1, b, each = self.weights.k1, self.weights.b, self.known[key]
        count = min(255, each.count(self.words[word]))
        slope = k1 * b / self._mean
        most = self.idf[word] * (k1 + 1)
        return most * count / (count + k1 * (1 - b) + slope * each.length) if count else 0.0

    def _candidates(self, limit: int, without: str | None) -> list[Hit]:
        own = {
            key: sum(self._bm25(word, key) for word in self.words)
            for key in self.known
            if key[0] != without
        }
        found = sorted((-round(score, 9), key) for key, score in own.items() if score)
        best = [key for _, key in found[: max(self.weights.candidates, 3 * limit)]]
        if self.weights.near:
            near = {(p, seq + d) for p, seq in best for d in (-2, -1, 1, 2)}
            best = sorted({*best, *(near & self.known.keys())})
        if self.meanings is None:
            return [hit for key in best if (hit := self._hit(key)).why.words]
        closest = self.meanings.closest(self.weights.candidates, without)
        hits = [self._hit(key) for key in sorted({*best, *closest})]
        hits = [hit for hit in hits if hit.why.words or (hit.parent, hit.seq) in closest]
        return self.meanings.added_to(hits, self.weights.meaning)

    def _hit(self, key: tuple[str, int]) -> Hit:
        total, words = 0.0, {}
        for word in self.words:
            weight, _, offset = max(self._window(word, key), key=lambda each: each[:2])
            if weight:
                total += weight
                words[word] = (round(weight, 3), offset)
        parent, speaker, prior = self._parent(key[0]), self._speaker(key), self._prior(key)
        why = Reason(words=words, parent=round(parent, 3), speaker=speaker, prior=round(prior, 3))
        score = round(total + parent + speaker + prior, 9)
        return Hit(parent=key[0], seq=key[1], score=score, why=why)

    def _window(self, word: str, key: tuple[str, int]) -> Iterable[tuple[float, int, int]]:
        """Yields weights with a preference among equal ones, and the offsets."""
        for preference, offset in enumerate((3, -3, 2, -2, 1, -1, 0)):
            share = 1.0 if not offset else [0.0, *self.weights.near, 0.0, 0.0, 0.0][abs(offset)]
            beside = (key[0], key[1] + offset)
            if beside in self.known and share:
                yield share * self._bm25(word, beside), preference, offset

    def _parent(self, parent: str) -> float:
        k1, b = self.weights.parent_k1, self.weights.parent_b
        lengths: Counter[str] = Counter()
        for (name, _), each in self.known.items():
            lengths[name] += each.length
        sizes = [length for length in lengths.values() if length]
        norm = k1 * (1 - b + b * lengths[parent] / (sum(sizes) / len(sizes)))
        score = 0.0
        for terms in self.words.values():
            counts: Counter[str] = Counter()
            for (name, _), each in self.known.items():
                counts[name] += each.count(terms)
            idf = _rarity(len(sizes), counts.values())
            score += idf * (k1 + 1) * counts[parent] / (counts[parent] + norm)
        return self.weights.parent * score

    def _speaker(self, key: tuple[str, int]) -> float:
        each = self.known[key]
        asked = 0 if self.speakers else self.question.asked_role
        is_meant = each.speaker in self.speakers or asked & _ROLE_BITS[each.passage.role]
        return self.weights.speaker if is_meant else 0.0

    def _prior(self, key: tuple[str, int]) -> float:
        each = self.known[key]
        asks = each.passage.text.rstrip(" \"')*_").endswith("?")
        length = min(each.length, self.weights.longest)
        return (self.weights.question if asks else 0.0) + self.weights.length * math.log1p(length)

    def _exact(self, hit: Hit) -> Hit:
        words, k1 = words_of(self.known[hit.parent, hit.seq].passage.text), self.weights.k1
        asked = [word for word in self.question.words if word in self.idf]
        norm = k1 * 0.25 + k1 * 0.75 * len(words) / max(1.0, 1.8 * self._mean)
        exact = 0.0
        for word in dict.fromkeys(asked):
            count = words.count(word)
            exact += self.idf[word] * (k1 + 1) * count / (count + norm)
        kept = [w for w in words if w in self.idf or w not in languages()["en"].stop_words]
        pairs = 0.0
        for pair in dict.fromkeys(pairwise(asked)):
            pairs += (self.idf[pair[0]] + self.idf[pair[1]]) * (pair in set(pairwise(kept)))
        return _raised(hit, self.weights.exact * exact, self.weights.pairs * pairs)


def _raised(hit: Hit, exact: float, pairs: float) -> Hit:
    why = replace(hit.why, exact=round(exact, 3), pairs=round(pairs, 3))
    score = round(hit.score + exact + pairs, 9)
    return Hit(parent=hit.parent, seq=hit.seq, score=score, why=why)


def _in_order(hits: Iterable[Hit], limit: int) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.parent, hit.seq))[:limit]


def _rarity(total: int, counts: Iterable[int]) -> float:
    having = sum(map(bool, counts))
    return math.log(1 + (total - having + 0.5) / (having + 0.5))
