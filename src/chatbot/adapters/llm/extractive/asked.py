"""What a question asks for: its words, what each counts, and which kind of answer it expects."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from chatbot.adapters.llm.extractive.stems import one_word, stem_of, table, words_in
from chatbot.adapters.llm.extractive.versions import years_in
from chatbot.domain.text import fold

_FEW_WORDS, _MOST_WORDS = 3, 40
_OF_PREVIOUS, _FOCUS, _LIGHT = 0.5, 1.5, 0.3
"""What a word counts that stands in the question before only; that names what is asked for, as in
`which insurer`; that fits any question, such as `take`.
"""


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

    @property
    def main_words(self) -> tuple[str, ...]:
        """The words of the prompt that are not light."""
        return tuple(word for word in self.own if self.words[word] > _LIGHT)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The words of the prompt that stand next to each other."""
        return tuple(zip(self.own, self.own[1:], strict=False))

    def stems(self, language: str) -> dict[str, str]:
        """Return the stem of each word in a language."""
        return {word: stem_of(language, word) for word in self.words}


def question_of(prompt: str, previous: str) -> Question:
    """Return the question of a prompt; one with few words goes on with the `previous` one."""
    plain = fold(one_word(prompt))
    meant = {*words_in(_pattern("formula").sub(" ", plain))}
    own = [word for word in dict.fromkeys(words_in(prompt)) if word in meant or word.isupper()][
        :_MOST_WORDS
    ]
    focus = {found[1] for found in _pattern("focus").finditer(plain)}
    words = {word: _share(word, focus) for word in own}
    if len(words) < _FEW_WORDS:
        words = dict.fromkeys(words_in(previous)[:_MOST_WORDS], _OF_PREVIOUS) | words
    return Question(
        text=plain,
        words=words,
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
