"""Passages, their access classes, and explanations of search hits."""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import mul
from typing import NewType

from chatbot.domain.chat import Message, MessageRole
from chatbot.domain.identity import Owner

Scope = NewType("Scope", str)
"""An access class: all of its passages may be read by the same callers."""

Vector = Sequence[float]
"""The vector of a text: texts with a similar meaning have similar directions."""

_MESSAGES = "messages "
_SHORTEST = 1e-300
"""A vector that is shorter is taken for zero."""


def messages_scope(owner: Owner) -> Scope:
    """Returns the access class of a person's own messages."""
    return Scope(f"{_MESSAGES}{owner.key}")


def owner_of(scope: Scope) -> Owner | None:
    """Returns the person whose messages an access class contains; None if it contains documents."""
    if not scope.startswith(_MESSAGES):
        return None
    kind, _, name = scope.removeprefix(_MESSAGES).partition(":")
    return Owner(kind="user" if kind == "user" else "client", id=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A message, or a piece of a document.

    `seq` is its number in its parent, a session or a document; `heading` is the path of headings
    above it; `role` is None in a document.
    """

    seq: int
    text: str
    heading: str = ""
    role: MessageRole | None = None


def passages_of(messages: Iterable[Message]) -> Sequence[Passage]:
    """Returns the messages to index: those with a text, including interrupted ones."""
    return [
        Passage(seq=each.seq, text=each.content, role=each.role)
        for each in messages
        if each.content.strip()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The vectors that a model made of passages of one parent, by the number of the passage.

    Raises:
        ValueError: their lengths differ, or one has no direction.
    """

    model: str
    vectors: Mapping[int, Vector]

    def __post_init__(self) -> None:
        if len(set(map(len, self.vectors.values()))) > 1:
            raise ValueError("Vectors of one model have the same length.")
        if not all(map(has_direction, self.vectors.values())):
            raise ValueError("A vector has finite numbers, not all of them zero.")


def has_direction(vector: Vector) -> bool:
    """Returns whether a vector can be compared with others."""
    return _SHORTEST < math.hypot(*vector) < math.inf


def rounded(vector: Vector) -> "array[int]":
    """Returns a vector as whole numbers of one byte, the greatest of which is 127 or -127.

    This is all that an index keeps of it. It takes some tenths of a millisecond, and none for a
    vector that is rounded.

    Raises:
        ValueError: it has no direction.
    """
    if isinstance(vector, array) and vector.typecode == "b":
        return vector
    if not has_direction(vector):
        raise ValueError("A vector has finite numbers, not all of them zero.")
    scale = 127 / max(map(abs, vector))
    return array("b", map(round, map(mul, vector, repeat(scale))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What a score is made of.

    `words` has, for each word of the query that counts, its weight and the offset of the passage in
    which it stands: 0 is the passage itself, -1 the one before. The other numbers are added to them:
    for the parent as a whole, the speaker, the passage whatever the query, exact forms, pairs of
    words, and the meaning, by vectors. `likeness` is not added: it says how alike question and
    passage are by their vectors, from 0, no more than the average of all passages, to 1.
    """

    words: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    parent: float = 0.0
    speaker: float = 0.0
    prior: float = 0.0
    exact: float = 0.0
    pairs: float = 0.0
    meaning: float = 0.0
    likeness: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A passage that was found: `seq` is its number in its parent."""

    parent: str
    seq: int
    score: float
    why: Reason
