"""Whether a sentence has the kind of answer that a question expects: a name, a figure, a number to call."""

import re
from functools import cache
from typing import Literal

from chatbot.adapters.llm.extractive.asked import Question
from chatbot.adapters.llm.extractive.stems import table, words_in
from chatbot.domain.text import fold

_NAME = re.compile(
    r"(?<=[\w,:;(\-] )[A-ZÁÉÍÓÚÑ][\w'\u2019-]+(?: (?:de |la |van )*[A-ZÁÉÍÓÚÑ][\w'\u2019-]+)*"
)
_FULL_NAME = re.compile(r"[A-ZÁÉÍÓÚÑ]\w+(?: (?:de |la |van )*[A-ZÁÉÍÓÚÑ]\w+){1,2}")
_FULL, _HALF = 0.5, 0.25


def expected_in(text: str, question: Question) -> float | None:
    """Return what is added, in mean weights of a word; None if the kind of answer is missing."""
    if "person" in question.asks:
        return _person(text, question)
    if "contact" in question.asks:
        return _FULL if _has("contact", text) else None
    if "figure" not in question.asks:
        return 0.0
    if "time" in question.asks and not _has("time", text):
        return None
    if _has("number", text) or _has("numeral", text):
        return _FULL
    return None if question.counted else -_HALF


def _person(text: str, question: Question) -> float | None:
    """A name, or the role of a person, that is not in the question itself."""
    if any(not set(words_in(name)) <= question.words.keys() for name in _NAME.findall(text)):
        return _FULL
    others = [word for word in words_in(text) if word not in question.words]
    return _HALF if _has("role", " ".join(others)) else None


def is_persons_name(text: str) -> bool:
    """Whether a cell holds two or three capitalised words, and nothing else."""
    return _FULL_NAME.fullmatch(text) is not None


def is_numeral(word: str) -> bool:
    """Whether a folded word is a number, in digits or in letters."""
    return word.isdigit() or _pattern("numeral").fullmatch(word) is not None


def goes_on(text: str) -> bool:
    """Whether a sentence completes the one before it, such as `However, ...` or `This ...`."""
    return _pattern("goes_on").match(fold(text)) is not None


def _has(kind: Literal["contact", "number", "numeral", "role", "time"], text: str) -> bool:
    return _pattern(kind).search(fold(text)) is not None


@cache
def _pattern(kind: str) -> re.Pattern[str]:
    return re.compile(table()["evidence"][kind].replace("\n", ""))
