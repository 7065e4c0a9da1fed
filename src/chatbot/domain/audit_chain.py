"""The result of a check of the audit's chain: findings, notes and the head."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from chatbot.domain.audit import FIRST
from chatbot.domain.ports.journal import JournalEntry


class Tampering(StrEnum):
    """The kind of tampering."""

    EDITED = "edited"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    HIDDEN = "hidden"
    """The event is intact, but missing from the index of the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of the chain at some time: the number and the MAC of the newest event."""

    seq: int
    mac: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.mac}"


NO_EVENTS = Head(seq=0, mac=FIRST)


def head_of(last: JournalEntry | None) -> Head:
    """Return the head of a chain that ends with this event."""
    return NO_EVENTS if last is None else Head(seq=last.seq, mac=str(last.content.get("mac")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A finding about the events from `first` to `last`."""

    kind: Tampering
    first: int
    last: int
    detail: str = ""

    def __str__(self) -> str:
        is_one = self.first == self.last
        events = f"event {self.first}" if is_one else f"events {self.first} to {self.last}"
        return f"{events}: {self.kind}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """A stored event; without a number or an entry if it cannot be read."""

    seq: int | None
    entry: JournalEntry | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result of a check. `notes` are informational, and not signs of tampering."""

    findings: Sequence[Finding]
    notes: Sequence[str]
    count: int
    head: Head
