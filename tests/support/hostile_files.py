"""Files that are made to cost time or memory, or to confuse the reader of a format.

Each with what may become of it: None if it is read.
"""

from collections.abc import Callable
from dataclasses import dataclass

from chatbot.domain.extraction import FailureReason

BOUNDS, DAMAGED = FailureReason.ARCHIVE_BOUNDS, FailureReason.DAMAGED
MANY, TOO_LONG = FailureReason.TOO_MANY_PASSAGES, FailureReason.TIMEOUT
MEMORY, NO_TEXT = FailureReason.OUT_OF_MEMORY, FailureReason.NO_TEXT
OTHER_TYPE, ENCRYPTED = FailureReason.TYPE_MISMATCH, FailureReason.ENCRYPTED


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """A file, and what may become of it."""

    name: str
    make: Callable[[], str | bytes]
    outcomes: tuple[FailureReason | None, ...]


def hostile(name: str, make: Callable[[], str | bytes], *outcomes: FailureReason | None) -> Hostile:
    return Hostile(name=name, make=make, outcomes=outcomes or (None,))
