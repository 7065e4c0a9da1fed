"""What the index is measured with: made texts with the frequencies of a language, and LoCoMo."""

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from chatbot.domain.chat import MessageRole
from chatbot.domain.search import Passage

_SYLLABLES = [
    c + v for c in "bcdfglmnprstv" for v in ["a", "e", "i", "o", "u", "an", "er", "is", "ol", "um"]
]
_STOP_WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "a",
    "is",
    "that",
    "it",
    "for",
    "was",
    "on",
    "are",
    "as",
    "with",
    "at",
    "this",
    "have",
    "from",
    "by",
    "not",
]
_WORDS = 50_000
_STOPS = 0.35
"""How many stop words there are for each other word."""


class MadeTexts:
    """Texts of made-up words, the n-th of which is as frequent as 1 / (n + 8); the same every time."""

    def __init__(self, seed: int = 11) -> None:
        self._random = random.Random(seed)
        words: dict[str, None] = {}
        while len(words) < _WORDS:
            words[
                "".join(self._random.choices(_SYLLABLES, k=self._random.choice((2, 3, 3, 4))))
            ] = None
        self._words = list(words)
        self._frequencies = list(accumulate(1 / (n + 8) for n in range(_WORDS)))

    def text(self, least: int, most: int) -> str:
        """Returns a text of so many words, and stop words between them."""
        words: list[str] = []
        count = self._random.randint(least, most)
        for word in self._random.choices(self._words, cum_weights=self._frequencies, k=count):
            if self._random.random() < _STOPS:
                words.append(self._random.choice(_STOP_WORDS))
            words.append(word)
        return " ".join(words) + "."

    def passages(self, count: int, least: int = 12, most: int = 40) -> list[Passage]:
        """Returns a document of so many passages."""
        return [Passage(seq=n, text=self.text(least, most)) for n in range(1, count + 1)]

    def messages(self, count: int) -> list[Passage]:
        """Returns a session of so many messages, the user's and the assistant's in turn."""
        roles = list(MessageRole)
        return [
            Passage(seq=n, text=self.text(3, 30), role=roles[(n - 1) % 2])
            for n in range(1, count + 1)
        ]

    def question(self, passage: Passage) -> str:
        """Returns a question with four to nine words of a passage in a row."""
        words = passage.text.rstrip(".").split()
        count = self._random.randint(4, 9)
        first = self._random.randrange(max(1, len(words) - count))
        return "what is the " + " ".join(words[first : first + count])


@dataclass(frozen=True, kw_only=True)
class LocomoQuestion:
    """A question about a conversation, and the messages that hold the answer."""

    text: str
    evidence: frozenset[tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class LocomoConversation:
    sessions: Mapping[str, Sequence[Passage]]
    questions: Sequence[LocomoQuestion]


def locomo(path: Path) -> Iterator[LocomoConversation]:
    """Yields the conversations of LoCoMo; questions whose evidence is in no message are left out."""
    for each in json.loads(path.read_text(encoding="utf-8")):
        numbers: dict[str, tuple[str, int]] = {}
        sessions = dict(_sessions(each["conversation"], numbers))
        questions = [
            LocomoQuestion(
                text=asked["question"],
                evidence=frozenset(
                    numbers[name]
                    for name in re.findall(r"D\d+:\d+", " ".join(asked["evidence"]))
                    if name in numbers
                ),
            )
            for asked in each["qa"]
        ]
        yield LocomoConversation(
            sessions=sessions, questions=[asked for asked in questions if asked.evidence]
        )


def _sessions(
    conversation: Mapping[str, Any], numbers: dict[str, tuple[str, int]]
) -> Iterator[tuple[str, list[Passage]]]:
    for name, turns in conversation.items():
        if not re.fullmatch(r"session_\d+", name):
            continue
        passages = []
        for seq, turn in enumerate(turns, start=1):
            numbers[turn["dia_id"]] = (name, seq)
            text = f"{turn['speaker']}: {turn['text']} {turn.get('caption') or ''}".rstrip()
            passages.append(Passage(seq=seq, text=text, role=MessageRole.USER))
        yield name, passages
