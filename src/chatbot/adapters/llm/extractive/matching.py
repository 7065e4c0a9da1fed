"""How well the sentences of passages fit a question."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from chatbot.adapters.llm.extractive.amounts import amounts_in, is_in_range
from chatbot.adapters.llm.extractive.asked import Question
from chatbot.adapters.llm.extractive.candidates import Candidate, Found, Passage, Scored
from chatbot.adapters.llm.extractive.excerpts import Excerpt, excerpts_of
from chatbot.adapters.llm.extractive.expected import expected_in, is_numeral
from chatbot.adapters.llm.extractive.stems import language_in, likeness, stems_in, words_in
from chatbot.adapters.llm.extractive.versions import are_versions, years_in
from chatbot.domain.extraction import HEADING_SEPARATOR
from chatbot.domain.text import fold

_MOST_EXCERPTS, _MOST_AMOUNTS = 400, 3
_NEAR, _HEADING, _WHOLE_HEADING, _AFTER_QUESTION = 0.35, 0.6, 0.85, 0.8
"""What a word counts that stands beside a sentence, above it, in a heading of several words that are
all in the question, or in the question before it.
"""
_SUBJECT, _COUNTED, _PAIR, _IN_RANGE = 0.8, 0.5, 0.25, 2.0
"""What is added, in mean weights of a word: the sentence begins with what is asked for; it says how many;
two words of the question stand together here, too; an amount of the question lies in a range.
"""
_MISSING, _OTHER_YEAR, _LATER = 0.45, 0.5, 0.95
"""What a sentence counts without the kind of answer that is asked for, or of another year's document, or
of a passage that was found later.
"""
_NUMBER, _FREQUENT_NUMBER = 2.0, 0.3
"""What a number in a question counts, and one that several passages have, such as the current year."""
_LEAST_RARITY = 0.6
"""What a word counts at least, against one that is found once: a few passages say little about it."""
_TOGETHER = 3


class Matching:
    """The sentences of the passages, matched with a question."""

    def __init__(self, question: Question, passages: Sequence[Passage]) -> None:
        self.question = question
        self._passages = passages
        self._known: dict[tuple[str, str], Found] = {}
        asked = language_in(question.text)
        self._languages = {each.n: language_in(each.text, preferred=asked) for each in passages}
        self._wanted = {each: question.stems(each) for each in self._languages.values()}
        self.excerpts = {each.n: [*excerpts_of(each.text)] for each in passages}
        found = (each for passage in passages for each in self._candidates(passage))
        self._all = [*islice(found, _MOST_EXCERPTS)]
        self._weights = self._word_weights()
        self._total = sum(self._weights.values())
        self._mean = self._total / max(1, len(self._weights))
        self.amounts = [*islice(amounts_in(question.text), _MOST_AMOUNTS)]

    def words_found(self, n: int, text: str) -> Found:
        """Return the words of the question that are in a text in the language of a passage."""
        return self._found(n, stems_in(self._languages[n], text))

    def _found(self, n: int, stems: Iterable[str]) -> Found:
        language = self._languages[n]
        return _best_of((1.0, self._words_of(language, stem)) for stem in stems)

    def _words_of(self, language: str, stem: str) -> Found:
        """The words of the question that mean the same as a stem."""
        known = self._known.get((language, stem))
        if known is None:
            wanted = self._wanted[language].items()
            alike = ((word, likeness(language, each, stem)) for word, each in wanted)
            known = self._known[language, stem] = {word: share for word, share in alike if share}
        return known

    def _candidates(self, passage: Passage) -> Iterator[Candidate]:
        language, excerpts = self._languages[passage.n], self.excerpts[passage.n]
        stems = [stems_in(language, each.text) for each in excerpts]
        own = [self._found(passage.n, each) for each in stems]
        above = self.words_found(passage.n, passage.above)
        section = passage.heading.rpartition(HEADING_SEPARATOR)[2]
        for at, excerpt in enumerate(excerpts):
            if not excerpt.is_quotable:
                continue
            heading = self.words_found(passage.n, excerpt.heading)
            parts = [(1.0, own[at]), (_HEADING, heading), (_HEADING, above)]
            parts += [
                (_WHOLE_HEADING, self.words_found(passage.n, each))
                for each in (excerpt.heading, section)
                if " " in each and self.is_asked_for(passage.n, each)
            ]
            parts += [(_NEAR, own[near]) for near in _neighbours(excerpts, at)]
            if at and excerpts[at - 1].text.endswith("?"):
                parts.append((_AFTER_QUESTION, own[at - 1]))
            yield Candidate(
                passage=passage,
                excerpt=excerpt,
                at=at,
                stems=stems[at],
                own=own[at],
                found=_best_of(parts),
            )

    def _word_weights(self) -> dict[str, float]:
        """What each word of the question counts: more, the fewer sentences have it, up to a limit."""
        counts = Counter(word for each in self._all for word in each.own)
        least = _LEAST_RARITY * self._rarity(1)
        return {
            word: share * self._number_share(word) * max(least, self._rarity(counts[word]))
            for word, share in self.question.words.items()
        }

    def _rarity(self, count: int) -> float:
        return math.log(1 + (len(self._all) + 1) / (max(count, 1) + 0.5))

    def _number_share(self, word: str) -> float:
        if not is_numeral(word):
            return 1.0
        if word in self.question.years and any(word in each.above for each in self._passages):
            return 0.0  # it chooses between documents
        having = sum(word in fold(f"{each.above} {each.text}") for each in self._passages)
        return _NUMBER if having <= 1 else _FREQUENT_NUMBER

    def scored(self) -> list[Scored]:
        """Return all candidates with their scores, in their order."""
        places = {passage.n: place for place, passage in enumerate(self._passages)}
        return [self._scored(each, places[each.n]) for each in self._all]

    def _scored(self, each: Candidate, place: int) -> Scored:
        covered = sum(self._weights[word] * share for word, share in each.found.items())
        text = fold(each.excerpt.text)
        if any(is_in_range(amount, text) for amount in self.amounts):
            covered += _IN_RANGE * self._mean
        expected = expected_in(each.excerpt.text, self.question)
        bonus = (expected or 0.0) + _COUNTED * self._is_counted(each) + _PAIR * self._pairs(each)
        is_subject = self.is_asked_for(each.n, each.excerpt.subject)
        bonus += _SUBJECT * is_subject
        is_other_year = self._is_other_year(each)
        share = (_OTHER_YEAR if is_other_year else 1.0) * (_MISSING if expected is None else 1.0)
        whole = (covered + self._mean * bonus) * share if covered else 0.0
        return Scored(
            candidate=each,
            score=whole * _LATER**place,
            covered=covered * share / self._total if self._total else 0.0,
            is_other_year=is_other_year,
            is_subject=is_subject,
        )

    def is_asked_for(self, n: int, subject: str) -> bool:
        """Whether all words of a subject, such as the first cell of a row, are in the question."""
        stems = stems_in(self._languages[n], subject)
        return bool(stems) and all(self._found(n, [stem]) for stem in stems)

    def _is_counted(self, each: Candidate) -> bool:
        """Whether a number stands before what is counted, as in `25 days` for `how many days`."""
        wanted = self._wanted[self._languages[each.n]].get(self.question.counted)
        words = words_in(each.excerpt.text)
        return any(
            stem == wanted and is_numeral(word)
            for word, stem in zip(words, each.stems[1:], strict=False)
        )

    def _pairs(self, each: Candidate) -> int:
        """How many neighbours of the question stand together here, too."""
        wanted = self._wanted[self._languages[each.n]]
        places = {
            word: [at for at, stem in enumerate(each.stems) if stem == wanted[word]]
            for word in each.own
        }
        return sum(
            any(
                0 < abs(a - b) <= _TOGETHER
                for a in places.get(left, ())
                for b in places.get(right, ())
            )
            for left, right in self.question.pairs
        )

    def _is_other_year(self, each: Candidate) -> bool:
        """Whether the years of its title are not those that the question asks for."""
        titled, wanted = years_in(each.passage.above), self.question.years
        if not titled:
            return False
        if not wanted:
            wanted = self._preferred_years(each.passage)
        elif "version" not in self.question.asks and wanted & years_in(each.excerpt.text):
            return False
        return bool(wanted) and titled.isdisjoint(wanted)

    def _preferred_years(self, passage: Passage) -> frozenset[str]:
        """The year of the newest or oldest version, if the question asks for one of them."""
        years = frozenset[str]().union(
            *(years_in(p.above) for p in self._passages if are_versions(p.title, passage.title))
        )
        if "now" in self.question.asks:
            return frozenset({max(years)})
        return frozenset({min(years)}) if "past" in self.question.asks else frozenset()


def _neighbours(excerpts: Sequence[Excerpt], at: int) -> Iterator[int]:
    """The places of the sentences before and after, in the same paragraph."""
    for near in (at - 1, at + 1):
        if 0 <= near < len(excerpts) and excerpts[near].paragraph == excerpts[at].paragraph:
            yield near


def _best_of(parts: Iterable[tuple[float, Found]]) -> Found:
    best: dict[str, float] = {}
    for share, found in parts:
        for word, weight in found.items():
            best[word] = max(best.get(word, 0.0), share * weight)
    return best
