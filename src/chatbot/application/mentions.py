"""Hides the turns that mention a forgotten item, and empties summaries of answers that used it.

An answer may have repeated an item, in any session. Such turns are found by the search, and hidden
in the same way. A failure is logged: the item itself is forgotten by then.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from chatbot.application.memory_search import texts_of
from chatbot.domain.chat import Message, MessageRole, Session, SessionCursor, SessionId
from chatbot.domain.errors import ChatbotError, Conflict, NotFound, cause_of
from chatbot.domain.identity import Owner
from chatbot.domain.memory_evidence import is_mentioned
from chatbot.domain.memory_items import merged_sources
from chatbot.domain.memory_tombstones import newly_hidden
from chatbot.domain.person_memory import Item, ItemState, PersonMemory, Source
from chatbot.domain.ports.search import Search
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction

logger = logging.getLogger("chatbot.consolidation")

_MOST_ITEMS = 50
"""How many items that are forgotten together are searched for: the newest."""
_MOST_HITS = 25
_SESSIONS_AT_ONCE = 100
_TRIES = 5


class Mentions:
    """Finds and hides mentions of forgotten items, and empties summaries that may contain them."""

    def __init__(self, storage: Storage, search: Search) -> None:
        self._storage, self._search = storage, search

    async def hide(
        self, owner: Owner, before: PersonMemory, after: PersonMemory
    ) -> Collection[SessionId]:
        """Hide the turns that mention items of `before` that `after` no longer has.

        Returns:
            The sessions of these turns, and those whose summaries were emptied.
        """
        gone = [
            item
            for item in before.items
            if item.text and (now := after.find(item.id)) and now.state is ItemState.FORGOTTEN
        ]
        if not gone:
            return ()
        try:
            emptied = await self._emptied(owner, frozenset(item.id for item in gone))
            found = {item.id: await self._sources(owner, item) for item in gone[-_MOST_ITEMS:]}
            hidden = await self._hidden(owner, {key: each for key, each in found.items() if each})
        except ChatbotError as error:
            logger.warning("mentions could not be hidden: %s", cause_of(error))
            return ()
        return {*emptied, *hidden}

    async def _emptied(self, owner: Owner, gone: frozenset[str]) -> Collection[SessionId]:
        """Empty the summaries of answers whose prompts contained one of these items."""
        emptied, after = set[SessionId](), None
        while True:
            page, found = await self._storage.transact(partial(_emptied, owner, gone, after))
            emptied.update(found)
            if len(page) < _SESSIONS_AT_ONCE:
                return emptied
            after = SessionCursor(updated_at=page[-1].updated_at, id=page[-1].id)

    async def _sources(self, owner: Owner, item: Item) -> Sequence[Source]:
        """The questions of the turns that mention an item."""
        hits = await self._search.messages(owner, item.line, limit=_MOST_HITS)
        texts = await self._storage.transact(lambda tx: texts_of(tx, owner, hits))
        return [
            Source(session_id=SessionId(session_id), seq=_question_of(message))
            for (session_id, _), message in texts.items()
            if is_mentioned(item.key, item.text, message.content)
        ]

    async def _hidden(
        self, owner: Owner, found: Mapping[str, Sequence[Source]]
    ) -> Collection[SessionId]:
        if not found:
            return ()
        before = after = await self._storage.transact(lambda tx: tx.person_memories.of(owner))

        def changed(memory: PersonMemory) -> PersonMemory:
            nonlocal before
            before = memory
            return memory.with_items(
                replace(item, sources=merged_sources(*item.sources, *found[item.id]))
                for item in memory.in_state(ItemState.FORGOTTEN)
                if item.id in found
            )

        after = await self._storage.transact(lambda tx: tx.person_memories.change(owner, changed))
        return list(newly_hidden(before, after))


def _emptied(
    owner: Owner, gone: frozenset[str], after: SessionCursor | None, tx: Transaction
) -> tuple[Sequence[Session], Collection[SessionId]]:
    page = tx.sessions.page(owner, limit=_SESSIONS_AT_ONCE, after=after)
    return page, [each.id for each in page if _is_emptied(tx, owner, each.id, gone)]


def _is_emptied(tx: Transaction, owner: Owner, session_id: SessionId, gone: frozenset[str]) -> bool:
    """Whether the summary was of such answers; others may change the memory meanwhile."""
    for _ in range(_TRIES):
        try:
            if gone.isdisjoint(tx.sessions.memory(owner, session_id).summarized_items):
                return False
            found = tx.sessions.load(owner, session_id)
        except NotFound:
            return False
        memory = found.memory.without_summary(found.session.reset_at)
        if tx.sessions.put_memory(owner, session_id, memory, epoch=found.session.epoch):
            return True
    raise Conflict("The memory is being changed. Try again.")


def _question_of(message: Message) -> int:
    return message.seq - (message.role is MessageRole.ASSISTANT)
