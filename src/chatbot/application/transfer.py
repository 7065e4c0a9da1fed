"""Copies everything from one store to another, as often as needed.

The source is only read. Each item is compared with the target: an earlier state of the same item is
replaced; anything else is left unchanged and reported. So the next run completes a killed one, and
a store can be copied while it is in use, and once more after the service has stopped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby, islice

from chatbot.domain.chat import Session, SessionId
from chatbot.domain.errors import Conflict
from chatbot.domain.identity import Owner
from chatbot.domain.memory import StructuredMemory
from chatbot.domain.person_memory import PersonMemory, new_person
from chatbot.domain.ports.blobs import Blob
from chatbot.domain.ports.export import (
    Change,
    Conversation,
    ExportTarget,
    Item,
    StoreExport,
    Unreadable,
    kind_of,
    name_of,
    name_of_session,
)
from chatbot.domain.ports.journal import JournalEntry
from chatbot.domain.ports.records import AnyKind

_TOO_LARGE = "it contains a number that is too large to continue counting from"
SESSION, ENTRY, BLOB = "session", "journal entry", "file"
_RECORDS_AT_ONCE = 500
"""In JSON all users are in one file, which each change writes anew."""


_LARGE: frozenset[type] = frozenset({Conversation, Blob})


class Outcome(StrEnum):
    """The result for one item."""

    NEW = "new"
    SAVED = "saved"
    UPDATED = "updated"
    SAME = "already there"
    TARGET_NEWER = "newer in the target"
    """The target has the item in a later state; it stays."""
    CONFLICT = "different in the target"
    """What the target has is neither an earlier nor a later state of the item; it stays."""
    REMOVED = "removed from the target"
    REFUSED = "refused"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An item, and its outcome, with an optional `detail`.

    `kind` is the display name of its kind; None if the item cannot be read.
    """

    name: str
    outcome: Outcome
    kind: str | None = None
    detail: str = ""
    change: Change | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.outcome}" + (f": {self.detail}" if self.detail else "")


class StoreCopy:
    """Copies the items of the source to the target. A dry run writes nothing."""

    def __init__(self, source: StoreExport, target: ExportTarget, *, dry_run: bool = False) -> None:
        self._source, self._target, self._dry_run = source, target, dry_run

    def steps(self) -> Iterator[Step]:
        """Copy the items one by one, each with one `next`.

        Raises:
            StorageFailure: a store cannot be read or written. Items copied before stay copied.
        """
        for kind, items in groupby(self._source.items(), type):
            at_once = 1 if kind in _LARGE else _RECORDS_AT_ONCE
            while batch := list(islice(items, at_once)):
                yield from self._moved(batch)

    def _moved(self, batch: Sequence[Item | Unreadable]) -> Iterator[Step]:
        steps = [self._planned(item) for item in batch]
        changes = [step.change for step in steps if step.change is not None]
        try:
            if changes and not self._dry_run:
                self._target.put(changes)
                self._hand_over(changes)
                steps = [self._verified(step) for step in steps]
        except Conflict as error:
            if len(batch) == 1:
                steps = [replace(steps[0], outcome=Outcome.REFUSED, detail=str(error))]
            else:
                steps = [step for item in batch for step in self._moved([item])]
        yield from steps

    def _hand_over(self, changes: Sequence[Change]) -> None:
        """Move the items of sessions of earlier versions to the person's memory, if it exists.

        A person without a memory takes over the items of all sessions when it is first used.
        """
        for change in changes:
            item = change.item
            if isinstance(item, Conversation) and item.memory.structured != StructuredMemory():
                known = self._target.find(new_person(item.session.owner))
                if isinstance(known, PersonMemory) and known.is_complete:
                    waiting = replace(known, is_complete=False, version=known.version + 1)
                    self._target.put([Change(waiting, known)])

    def _planned(self, item: Item | Unreadable) -> Step:
        if isinstance(item, Unreadable):
            return step_of(item)
        name, kind = name_of(item), label_of(item)
        if isinstance(item, Conversation):
            item = item.kept()
            if not item.is_within_bounds():
                return Step(name=name, kind=kind, outcome=Outcome.REFUSED, detail=_TOO_LARGE)
        try:
            there = self._target.find(item)
        except Conflict as error:
            return Step(name=name, kind=kind, outcome=Outcome.REFUSED, detail=str(error))
        outcome = compared(there, item)
        is_due = outcome in {Outcome.NEW, Outcome.UPDATED}
        change = Change(item, there) if is_due else None
        return Step(name=name, kind=kind, outcome=outcome, change=change)

    def _verified(self, step: Step) -> Step:
        """The step, rejected if the target does not return what was written."""
        if step.change is None:
            return step
        back = self._target.find(step.change.item)
        if back == step.change.item:
            return step
        detail = "the target does not return what was written"
        return replace(step, outcome=Outcome.REFUSED, detail=detail)

    def others(self) -> set[tuple[Owner, SessionId]]:
        """Return the sessions that exist only in the target.

        They were deleted from the source after an earlier run, or were created in the target.
        """
        return self._target.session_keys() - self._source.session_keys()

    def remove_others(self) -> Iterator[Step]:
        """Remove these sessions from the target, so that no deleted session reappears."""
        for owner, session_id in self.others():
            name = name_of_session(owner, session_id)
            step = Step(name=name, kind=SESSION, outcome=Outcome.REMOVED)
            try:
                if not self._dry_run:
                    self._target.remove(owner, session_id)
            except Conflict as error:
                step = replace(step, outcome=Outcome.REFUSED, detail=str(error))
            yield step


def step_of(item: Item | Unreadable) -> Step:
    """The step of saving an item, or of finding one that cannot be read."""
    if isinstance(item, Unreadable):
        detail = item.reason
        return Step(name=item.name, kind=None, outcome=Outcome.UNREADABLE, detail=detail)
    return Step(name=name_of(item), kind=label_of(item), outcome=Outcome.SAVED)


def label_of(item: Item) -> str:
    """The display name of its kind."""
    if isinstance(item, JournalEntry):
        return ENTRY
    if isinstance(item, Blob):
        return BLOB
    return SESSION if isinstance(item, Conversation) else kind_of(item).singular


def compared(there: Item | None, item: Item) -> Outcome:
    """Return the outcome for an item, given its state in the target."""
    if there is None:
        return Outcome.NEW
    if there == item:
        return Outcome.SAME
    if isinstance(there, Conversation) and isinstance(item, Conversation):
        return _of_conversations(there, item)
    if isinstance(item, JournalEntry | Blob):
        return Outcome.CONFLICT
    return _of_records(kind_of(item), there, item)


def _of_records(kind: AnyKind, there: Item, item: Item) -> Outcome:
    if there in kind.initial:
        return Outcome.UPDATED  # nobody has edited it yet
    if kind.supersedes is None:
        return Outcome.CONFLICT
    if kind.supersedes(item, there):
        return Outcome.UPDATED
    return Outcome.TARGET_NEWER if kind.supersedes(there, item) else Outcome.CONFLICT


def _of_conversations(there: Conversation, found: Conversation) -> Outcome:
    if is_older(there, than=found):
        return Outcome.UPDATED
    return Outcome.TARGET_NEWER if is_older(found, than=there) else Outcome.CONFLICT


def is_older(old: Conversation, *, than: Conversation) -> bool:
    """Whether `old` can have become `than` by messages, changes of fields or memory, and resets.

    Of messages before a reset only the numbers are known.
    """
    first, last = old.session, than.session
    if first.created_at != last.created_at:
        return False
    if first.epoch != last.epoch:
        return first.epoch < last.epoch and first.last_seq <= last.reset_at
    kept = tuple(message for message in old.messages if message.seq > last.reset_at)
    return (
        (first.reset_at == last.reset_at or _may_be_trimmed(first, than=last))
        and _is_older_session(first, than=last)
        and kept == than.messages[: len(kept)]
        and (old.memory == than.memory or old.memory.version < than.memory.version)
    )


def _may_be_trimmed(old: Session, *, than: Session) -> bool:
    """Whether messages of `old` may have been removed since, because they had expired."""
    return (
        old.reset_at < than.reset_at
        and old.last_seq <= than.last_seq
        and old.revision < than.revision
    )


def _is_older_session(old: Session, *, than: Session) -> bool:
    """Whether the fields that people change are those of `than`, or of an earlier revision."""
    if old.revision != than.revision:
        return old.revision < than.revision
    title = old.title or than.title  # the first message gives one
    return (title, old.hold) == (than.title, than.hold)
