"""Searches the items of the caller, and all messages of their sessions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import chain, zip_longest

from chatbot.domain.authorization import require
from chatbot.domain.chat import Message, SessionId
from chatbot.domain.identity import Owner, Principal
from chatbot.domain.permissions import Permission
from chatbot.domain.person_memory import Item, ItemState, PersonMemory
from chatbot.domain.ports.search import Search
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Hit, Passage, Reason
from chatbot.domain.transaction import Transaction

MAX_RESULTS = 25


class ResultType(StrEnum):
    """The type of a result."""

    ITEM = "item"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryResult:
    """A result.

    `session_id` and `seq` of an item are those of the message from which it was learned.
    """

    type: ResultType
    id: str | None
    session_id: str | None
    seq: int | None
    ts: datetime
    text: str
    why: Reason


class MemorySearch:
    """Searches the caller's own memory. Items and messages are ranked separately, then interleaved."""

    def __init__(self, storage: Storage, search: Search) -> None:
        self._storage, self._search = storage, search

    async def find(
        self,
        principal: Principal,
        query: str,
        *,
        limit: int,
        types: Collection[ResultType] = tuple(ResultType),
    ) -> Sequence[MemoryResult]:
        """Return the best results; never messages from which a forgotten item was learned, nor
        answers that used one.

        Raises:
            Forbidden: the caller may not chat.
        """
        require(principal, Permission.CHAT)
        owner = principal.owner
        memory = await self._storage.transact(lambda tx: tx.person_memories.of(owner))
        items = await self._items(memory, query, limit) if ResultType.ITEM in types else []
        messages: Sequence[MemoryResult] = []
        if ResultType.MESSAGE in types:
            messages = await self._messages(owner, memory, query, limit)
        found = chain.from_iterable(zip_longest(items, messages))
        return [each for each in found if each is not None][:limit]

    async def _items(self, memory: PersonMemory, query: str, limit: int) -> list[MemoryResult]:
        listed = memory.in_state(ItemState.ACTIVE, ItemState.PENDING, ItemState.DONE)
        by_id = {item.id: item for item in listed}
        passages = {item.id: [Passage(seq=1, text=item.line)] for item in listed}
        hits = await self._search.texts(query, passages, limit=limit) if passages else []
        return [_of_item(by_id[hit.parent], hit.why) for hit in hits]

    async def _messages(
        self, owner: Owner, memory: PersonMemory, query: str, limit: int
    ) -> list[MemoryResult]:
        hidden = memory.hidden_messages
        most = limit + MAX_RESULTS * bool(memory.forgotten_ids or memory.forgotten_until)
        hits = await self._search.messages(owner, query, limit=most)
        shown = [hit for hit in hits if (SessionId(hit.parent), hit.seq) not in hidden]
        texts = await self._storage.transact(lambda tx: texts_of(tx, owner, shown))
        found = [
            MemoryResult(
                type=ResultType.MESSAGE,
                id=None,
                session_id=hit.parent,
                seq=hit.seq,
                ts=message.ts,
                text=message.content,
                why=hit.why,
            )
            for hit in shown
            if (message := texts.get((hit.parent, hit.seq))) is not None
            and memory.allows_recall(message)
        ]
        return found[:limit]


def _of_item(item: Item, why: Reason) -> MemoryResult:
    taught = next((each for each in reversed(item.sources) if not each.is_removed), None)
    return MemoryResult(
        type=ResultType.ITEM,
        id=item.id,
        session_id=None if taught is None else taught.session_id,
        seq=None if taught is None else taught.seq,
        ts=item.updated_at,
        text=item.line,
        why=why,
    )


def texts_of(
    tx: Transaction, owner: Owner, hits: Sequence[Hit]
) -> Mapping[tuple[str, int], Message]:
    """Return the messages that were found, without those that have been deleted since."""
    keys = [(SessionId(hit.parent), hit.seq) for hit in hits]
    stored = tx.sessions.with_next(owner, keys)
    return {(str(key[0]), key[1]): found[0] for key, found in stored.items()}
