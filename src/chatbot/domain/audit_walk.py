"""One walk along the audit's chain, which recognises each event by its MAC.

A MAC proves the number that an event was given. So an event at another position, even under another
number, is recognised; an event that proves no number was edited or inserted.
"""

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from chatbot.domain.audit import FIRST, Action, Stage, signed_text
from chatbot.domain.audit_chain import NO_EVENTS, Head, StoredEvent, head_of
from chatbot.domain.ports.journal import JournalEntry

_REACH, _SEARCHES = 20_000, 20
"""How far from its position the number of an event is searched, and for how many events."""
_MAX_PARTS = 1000
"""The walk stops after this many inconsistencies."""


@dataclass(slots=True)
class Run:
    """Events that are consecutive both in the store and by their numbers."""

    first: int
    last: int


@dataclass(slots=True)
class Unproven:
    """An event whose MAC proves no number."""

    event: StoredEvent


class Macs:
    """Which number the MAC of an event proves, under any of the keys, newest first."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._begun = [hmac.new(key, digestmod="sha256") for key in keys]
        self._shift, self._searches = 0, _SEARCHES
        self.key_used = 0
        """The index of the key of the last event that was proven."""

    def proven(self, entry: JournalEntry, expected: int) -> int | None:
        """Return the proven number of the event; None if there is none near its position."""
        found = self.among(entry, (entry.seq, entry.seq + self._shift, expected))
        if found is None and self._searches:
            self._searches -= 1
            near = range(max(1, entry.seq - _REACH), entry.seq + _REACH)
            found = self.among(entry, near)
        if found is not None:
            self._shift = found - entry.seq
        return found

    def among(self, entry: JournalEntry, numbers: Sequence[int]) -> int | None:
        """Return which of these numbers the MAC proves."""
        mac = entry.content.get("mac")
        before, behind = signed_text(entry.content, entry.at)
        for index, keyed in enumerate(self._begun):
            begun = keyed.copy()
            begun.update(before)
            for number in numbers:
                digest = begun.copy()
                digest.update(b"%d%b" % (number, behind))
                if digest.hexdigest() == mac:
                    self.key_used = index
                    return number
        return None


@dataclass(slots=True)
class _Intents:
    """Changes whose outcome is not recorded yet, in a store that records it separately."""

    open: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, entry: JournalEntry) -> None:
        stage = entry.content.get("stage")
        name = (str(entry.content.get("action")), str(entry.content.get("object")))
        if stage == Stage.INTENT:
            self.open.setdefault(name, []).append(entry.seq)
        elif stage == Stage.DONE and name in self.open:
            self.open[name].pop(0)
            if not self.open[name]:
                del self.open[name]

    def notes(self) -> Iterator[str]:
        for (action, _), numbers in self.open.items():
            for number in numbers:
                yield (
                    f"event {number}: {action} was started, but its end is not recorded: it is still "
                    "running, or the process or the disk failed"
                )


class Walk:
    """The chain so far; of an intact one, only its ends.

    Args:
        wanted: the number of an event whose MAC is needed.
    """

    def __init__(self, macs: Macs, wanted: int | None) -> None:
        self._macs, self._wanted = macs, wanted
        self.parts: list[Run | Unproven] = []
        self.replaced: list[int] = []
        """Events whose successor does not match, although both are proven."""
        self.count, self.head = 0, NO_EVENTS
        self.first: JournalEntry | None = None
        self.checkpoint = NO_EVENTS
        """The last event that was pruned."""
        self.wanted_mac: str | None = FIRST if wanted == 0 else None
        self._last: JournalEntry | None = None
        self._key: int | None = None
        self._intents, self._late_keys = _Intents(), list[int]()

    @property
    def runs(self) -> list[Run]:
        return [part for part in self.parts if isinstance(part, Run)]

    @property
    def is_given_up(self) -> bool:
        """Whether there are too many inconsistencies to go on."""
        return len(self.parts) > _MAX_PARTS

    def add(self, event: StoredEvent) -> None:
        """Process the next event of the store."""
        self.count += 1
        expected = 1 if self._last is None else self._last.seq + 1
        entry = event.entry
        number = None if entry is None else self._macs.proven(entry, expected)
        if entry is None or number is None:
            self.parts.append(Unproven(event))
        else:
            self._add_proven(entry if number == entry.seq else replace(entry, seq=number))

    def _add_proven(self, entry: JournalEntry) -> None:
        part = self.parts[-1] if self.parts else None
        if isinstance(part, Run) and part.last + 1 == entry.seq and self._last is not None:
            part.last = entry.seq
            if entry.content.get("prev") != self._last.content["mac"]:
                self.replaced.append(entry.seq - 1)
        else:
            self.parts.append(Run(entry.seq, entry.seq))
        self._last = entry
        if self.first is None or entry.seq < self.first.seq:
            self.first = entry
        if entry.seq > self.head.seq:
            self.head = head_of(entry)
        if entry.seq == self._wanted:
            self.wanted_mac = head_of(entry).mac
        self._look_inside(entry)

    def _look_inside(self, entry: JournalEntry) -> None:
        self._intents.add(entry)
        if self._key is not None and self._macs.key_used > self._key:
            self._late_keys.append(entry.seq)
        self._key = self._macs.key_used
        subject = entry.content.get("object")
        if entry.content.get("action") == Action.AUDIT_PRUNE and isinstance(subject, dict):
            number = str(subject.get("id"))
            if number.isdecimal() and int(number) > self.checkpoint.seq:
                self.checkpoint = Head(seq=int(number), mac=str(entry.content.get("before")))

    def find_moved(self, missing: Iterable[int], *, max_tries: int = 1_000_000) -> None:
        """Recognise the unproven events that are far from their position."""
        left = list(missing)
        for index, part in enumerate(self.parts):
            max_tries -= len(left)
            if not left or max_tries < 0:
                return
            if isinstance(part, Unproven) and part.event.entry is not None:
                number = self._macs.among(part.event.entry, left)
                if number is not None:
                    left.remove(number)
                    self.parts[index] = Run(number, number)

    def notes(self) -> Iterator[str]:
        """Yield notes that also apply to an intact chain."""
        if self._late_keys:
            yield (
                f"event {self._late_keys[0]}: uses an older AUDIT_KEY than earlier events, because a process "
                f"was still running with it ({len(self._late_keys)} events)"
            )
        if self.checkpoint.seq:
            yield f"events 1 to {self.checkpoint.seq} were pruned, as recorded"
        yield from self._intents.notes()
        if self.is_given_up:
            yield f"the check stopped after {self.count} events"
