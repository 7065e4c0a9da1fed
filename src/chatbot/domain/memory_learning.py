"""Applies what a model extracts from a person's messages to the person's memory.

The model answers with names and texts. Their effect is decided here, by the person's own words:
only the person's own statements become active, text from other sources at most pending, and some
things are never stored. `merge` and `without_named` have the rules for keys, lists and names.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chatbot.domain.chat import Message, SessionId
from chatbot.domain.forgetting import without_named
from chatbot.domain.lookalikes import unmasked
from chatbot.domain.memory import DEFAULT_PREFERENCES, Update, cut
from chatbot.domain.memory_changes import added, finished
from chatbot.domain.memory_evidence import Evidence, Finding
from chatbot.domain.memory_guards import is_refused, without_secret
from chatbot.domain.memory_items import MAX_ITEMS, NewItem, plain
from chatbot.domain.memory_sentences import Support
from chatbot.domain.memory_tombstones import forgotten, is_forgotten
from chatbot.domain.memory_updates import merge
from chatbot.domain.memory_views import Slot, slots_of, structured_of
from chatbot.domain.person_memory import (
    Item,
    ItemKind,
    ItemOrigin,
    ItemState,
    PersonMemory,
    Source,
)
from chatbot.domain.ports.runtime import NewId

MAX_ADDITIONS = 60
"""The maximum per lesson; each is compared with every sentence of the messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a model extracted from some messages of a session.

    `said_before` is the user's last message before them.
    """

    session_id: SessionId
    messages: tuple[Message, ...]
    update: Update
    said_before: str = ""


def learned(
    memory: PersonMemory,
    lesson: Lesson,
    *,
    now: datetime,
    new_id: NewId,
    defaults: Mapping[str, str] = DEFAULT_PREFERENCES,
) -> PersonMemory:
    """Return the memory after a lesson, which first finishes and forgets items, then adds some.

    A value that is to be forgotten but has a new value for its key is superseded instead.
    """
    if not lesson.messages:
        return memory
    lesson = _readable(lesson)
    evidence = Evidence(lesson.messages, before=lesson.said_before)
    update = _named_by_text(memory, lesson.update)
    done, gone = _undone(memory, update, lesson.messages)
    additions = list(_additions(memory, update, lesson, evidence, defaults))
    new_keys = {(each.kind, each.key) for each in additions if each.state is ItemState.ACTIVE}
    for item in done:
        if evidence.undoing(item.line).support is Support.ASSERTED:
            memory = finished(memory, item, now=now)
    for item in gone:
        asked = evidence.undoing(item.line)
        is_replaced = item.key is not None and (item.kind, item.key) in new_keys
        if asked.support is Support.ASSERTED and not is_replaced:
            sources = _sources(asked, lesson.session_id)
            memory = forgotten(memory, [item], now=now, new_id=new_id, said_in=sources)
    for new in additions:
        memory = added(memory, new, now=now, new_id=new_id)
    return memory


def _readable(lesson: Lesson) -> Lesson:
    """Return the lesson with messages as they are read: hidden characters hide no rule."""
    messages = (replace(each, content=unmasked(each.content)) for each in lesson.messages)
    before = unmasked(lesson.said_before)
    return replace(lesson, messages=tuple(messages), said_before=before)


def _named_by_text(memory: PersonMemory, update: Update) -> Update:
    """Return the update with lines of items in place of ids: models may name items by either."""
    lines = {item.id: item.line for item in memory.items if item.is_active}

    def named(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(lines.get(name, name) for name in names)

    return replace(update, done=named(update.done), forget=named(update.forget))


def _undone(
    memory: PersonMemory, update: Update, messages: Sequence[Message]
) -> tuple[list[Item], list[Item]]:
    """Return the active items that the update finishes, and those that it forgets."""
    known = structured_of(_active(memory))
    said = [message.content for message in messages]

    def left_by(part: Update) -> set[Slot]:
        kept, _ = without_named(known, part, said)
        return {slot for slot, _ in slots_of(kept)}

    after_done = left_by(Update(done=update.done))
    after_forget = left_by(Update(forget=update.forget))
    done = [item for item in _active(memory) if _slot(item) not in after_done]
    gone = [item for item in _active(memory) if _slot(item) not in after_forget]
    return done, gone


def _additions(
    memory: PersonMemory,
    update: Update,
    lesson: Lesson,
    evidence: Evidence,
    defaults: Mapping[str, str],
) -> Iterable[NewItem]:
    """Yield what the update adds or repeats, as far as the messages support it."""
    known = structured_of(_active(memory))
    said = [message.content for message in lesson.messages]
    merged = merge(known, update, sources=(), said=said, max_items=MAX_ITEMS, defaults=defaults)
    repeated = _slots_in(update)
    before = {slot for slot, _ in slots_of(known)}
    stated = [
        (kind, key, text)
        for (kind, key, text), _ in slots_of(merged)
        if (kind, key, text) not in before or (kind, key, plain(text)) in repeated
    ]
    for slot in stated[-MAX_ADDITIONS:]:
        found = evidence.of(slot[0], slot[2])
        new = _supported(memory, slot, found, lesson.session_id)
        if new is not None and (slot not in before or new.state is ItemState.ACTIVE):
            yield new


def _supported(
    memory: PersonMemory, slot: Slot, found: Finding, session_id: SessionId
) -> NewItem | None:
    """Return the item, active or pending; None if it must not be learned."""
    kind, key, text = slot
    if found.support is Support.UNASSERTED or is_refused(kind, key, text):
        return None
    said_at = max(message.ts for message, _ in found.quotes)
    if is_forgotten(memory, text, said_at=said_at):
        return None
    is_own = found.support is Support.ASSERTED
    return NewItem(
        kind=kind,
        key=key,
        text=text,
        origin=ItemOrigin.SAID,
        state=ItemState.ACTIVE if is_own else ItemState.PENDING,
        sources=_sources(found, session_id),
    )


def _sources(found: Finding, session_id: SessionId) -> tuple[Source, ...]:
    return tuple(
        Source(session_id=session_id, seq=message.seq, quote=without_secret(quote))
        for message, quote in found.quotes
    )


def _active(memory: PersonMemory) -> list[Item]:
    return memory.in_state(ItemState.ACTIVE)


def _slot(item: Item) -> Slot:
    return item.kind, item.key, item.text


def _slots_in(update: Update) -> set[Slot]:
    """Return the statements of the update in the form in which texts are compared."""
    keyed = ((ItemKind.PROFILE, update.profile), (ItemKind.PREFERENCE, update.preferences))
    listed = ((ItemKind.FACT, update.facts), (ItemKind.TODO, update.todos))
    pairs: set[Slot] = {
        (kind, key, plain(cut(text))) for kind, known in keyed for key, text in known.items()
    }
    return pairs | {(kind, None, plain(cut(text))) for kind, texts in listed for text in texts}
