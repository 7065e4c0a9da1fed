"""Items of a person's memory, for tests."""

from dataclasses import replace
from datetime import datetime

from chatbot.domain.chat import SessionId
from chatbot.domain.memory_changes import added
from chatbot.domain.memory_items import NewItem
from chatbot.domain.person_memory import (
    Item,
    ItemKind,
    ItemOrigin,
    ItemState,
    PersonMemory,
    Source,
    new_person,
)
from conversation import fresh_ids
from samples import ANA, T0

ONE, TWO = SessionId("1" * 32), SessionId("2" * 32)
EMPTY = replace(new_person(ANA), is_complete=True)
NEW_ID = fresh_ids()


def source(seq: int, session_id: SessionId = ONE, quote: str = "as said") -> Source:
    return Source(session_id=session_id, seq=seq, quote=quote)


def said(
    text: str,
    *sources: Source,
    kind: ItemKind = ItemKind.FACT,
    key: str | None = None,
    state: ItemState = ItemState.ACTIVE,
) -> NewItem:
    return NewItem(
        kind=kind,
        key=key,
        text=text,
        origin=ItemOrigin.SAID,
        state=state,
        sources=sources or (source(1),),
    )


def role(text: str, *sources: Source) -> NewItem:
    return said(text, *sources, kind=ItemKind.PROFILE, key="role")


def with_new(*new: NewItem, memory: PersonMemory = EMPTY, now: datetime = T0) -> PersonMemory:
    for each in new:
        memory = added(memory, each, now=now, new_id=NEW_ID)
    return memory


def only(memory: PersonMemory) -> Item:
    [item] = memory.items
    return item
