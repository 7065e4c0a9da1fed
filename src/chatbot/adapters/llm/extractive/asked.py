"""What a question asks for: its words, what each counts, and which kind of answer it expects."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from chatbot.adapters.llm.extractive.stems import one_word, stem_of, table, words_in
from chatbot.adapters.llm.extractive.versions import years_in
from chatbot.domain.text import fold

_MOST_WORDS, _MOST_EARLIER = 40, 3
_OF_PREVIOUS, _FOCUS, _LIGHT = 0.5, 1.5, 0.3
"""What a word counts that stands in the question before only; that names what is asked for, as in
`which insurer`; that fits any question, such as `take`.
"""
_FEW_WORDS = 2
"""A question with a pronoun and so many main words may go on with the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question. `words` has the share of each word; `own` are those of the prompt, `pairs` neighbours.

    `counted` is what `how many` asks for; a choice is asked for with a noun, as in `which tool`.
    `asks` are the names of the patterns of `questions.toml` that it matches.
    """

    text: str
    words: Mapping[str, float]
    own: tuple[str, ...]
    counted: str
    is_choice: bool
    asks: frozenset[str]
    years: frozenset[str]
    is_follow_up: bool = False

    @property
    def main_words(self) -> tuple[str, ...]:
        """The words that are not light."""
        return tuple(word for word, share in self.words.items() if share > _LIGHT)

    @property
    def new_words(self) -> tuple[str, ...]:
        """The main words of the prompt itself."""
        return tuple(word for word in self.own if self.words[word] > _LIGHT)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The words of the prompt that stand next to each other."""
        return tuple(zip(self.own, self.own[1:], strict=False))

    def stems(self, language: str) -> dict[str, str]:
        """Return the stem of each word in a language."""
        return {word: stem_of(language, word) for word in self.words}


def questions_of(prompt: str, earlier: Sequence[str] = ()) -> Sequence[Question]:
    """Return the ways to read a prompt: by itself, or as going on with the `earlier` ones, newest first.

    `And for managers?` and `Why?` only go on; `When is it frozen?` and `Which colours?` may do so.
    """
    alone = _alone(prompt)
    if not earlier:
        return [alone]
    together = _going_on(alone, earlier)
    points_back = _pattern("pronoun").search(alone.text) is not None and "IT" not in alone.own
    count = len(alone.new_words)
    if _pattern("opener").match(alone.text) or count <= points_back:
        return [together]
    if count > _FEW_WORDS - (not points_back):
        return [alone]
    return [together, alone] if points_back else [alone, together]


def _going_on(question: Question, earlier: Sequence[str]) -> Question:
    """The question with the words of the one before, and what that asks for."""
    before = questions_of(earlier[0], earlier[1:_MOST_EARLIER])[-1]
    is_other_number = any(word.isdigit() for word in question.own)
    kept: dict[str, float] = {
        word: _OF_PREVIOUS * share
        for word, share in before.words.items()
        if not (word.isdigit() and (is_other_number or word in before.years))
    }
    return replace(
        question,
        words={**kept, **question.words},
        counted=question.counted or before.counted,
        is_choice=question.is_choice or before.is_choice,
        asks=question.asks | before.asks,
        years=question.years or before.years,
        is_follow_up=True,
    )


def _alone(prompt: str) -> Question:
    plain = fold(one_word(prompt))
    meant = {*words_in(_pattern("formula").sub(" ", plain))}
    own = [word for word in dict.fromkeys(words_in(prompt)) if word in meant or word.isupper()]
    del own[_MOST_WORDS:]
    focus = {found[1] for found in _pattern("focus").finditer(plain)}
    return Question(
        text=plain,
        words={word: _share(word, focus) for word in own},
        own=tuple(own),
        counted=counted[1] if (counted := _pattern("counted").search(plain)) else "",
        is_choice=not focus.isdisjoint(own),
        asks=frozenset(name for name in table()["asks"] if _pattern(name).search(plain)),
        years=years_in(plain),
    )


def _share(word: str, focus: set[str]) -> float:
    if word in _light():
        return _LIGHT
    return _FOCUS if word in focus else 1.0


@cache
def _light() -> frozenset[str]:
    return frozenset(table()["words"]["light"].split())


@cache
def _pattern(name: str) -> re.Pattern[str]:
    raw = {**table()["asks"], **table()["words"]}
    return re.compile(raw[name].replace("\n", ""))
