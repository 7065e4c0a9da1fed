"""Analyses a question: its words with their terms, and the speakers that it asks about."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from chatbot.adapters.search.analyser import term_of, words_of
from chatbot.adapters.search.languages import language_of, languages
from chatbot.adapters.search.records import BY_ASSISTANT, BY_USER

_MOST_WORDS = 200
"""The maximum number of words of a question that are used."""

Terms = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An analysed question.

    `terms` has each word that counts, with its terms: in a question without a stop word the
    language is unknown, so that a word has the stem of each language. Of words with the same terms
    the first one is in it.
    """

    text: str
    words: Sequence[str]
    terms: Mapping[str, Terms]

    @property
    def asked_role(self) -> int:
        """The flag of who wrote what is asked for, if the question says so, else 0."""
        own_words, answered = _whom()
        if answered.search(self.text):
            return BY_ASSISTANT
        return BY_USER if own_words.intersection(self.words) else 0

    def speakers_among(self, labels: frozenset[str]) -> frozenset[str]:
        """Returns the labels with a word of the question: it names these speakers."""
        return frozenset(label for label in labels if not set(label.split()).isdisjoint(self.words))


def question_of(text: str) -> Question:
    words = words_of(text)
    language = language_of(words)
    known = [language] if language else list(languages())
    stop_words = languages()[language].stop_words if language else frozenset()
    words = words[:_MOST_WORDS]
    first: dict[Terms, str] = {}
    for word in dict.fromkeys(words):
        if word not in stop_words:
            first.setdefault(tuple(sorted({term_of(code, word) for code in known})), word)
    terms = {word: terms for terms, word in first.items()}
    return Question(text=text, words=words, terms=terms)


@cache
def _whom() -> tuple[frozenset[str], re.Pattern[str]]:
    table = tomllib.loads(files(__package__).joinpath("questions.toml").read_text("utf-8"))
    return frozenset(table["own_words"].split()), re.compile(table["answered"], re.IGNORECASE)
