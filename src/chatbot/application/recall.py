"""Finds what a turn recalls besides its session: items, messages of other sessions, passages.

Only data that the caller may read is searched. If recall fails, the turn is answered without it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest

from chatbot.application.recall_plan import MemoryRecall, RecallPlan, RecallPlanner, log_failure
from chatbot.application.recalled_texts import ReadablePassages, messages_of
from chatbot.application.relevance import Query
from chatbot.application.turn import Turn
from chatbot.domain.chat import TurnContext
from chatbot.domain.errors import ChatbotError
from chatbot.domain.ports.search import Search
from chatbot.domain.ports.storage import Storage
from chatbot.domain.recall import Decision, PastMessage, Recalled, RecalledPassage
from chatbot.domain.search import Hit
from chatbot.domain.transaction import Transaction

MOST_MESSAGES = 5
MOST_PASSAGES = 4
_SEARCHED = 12
"""Hits of a search, of which some are not relevant enough."""


class Recaller:
    """Finds what the prompt of a turn may contain.

    Args:
        memory: what may be recalled of other sessions.
        documents: whether documents are searched.
    """

    def __init__(
        self, storage: Storage, search: Search, *, memory: MemoryRecall, documents: bool
    ) -> None:
        self._storage, self._search = storage, search
        self._planner = RecallPlanner(search, memory=memory, documents=documents)

    async def recall(self, turn: Turn, asked: TurnContext) -> Recalled:
        """Return what was found; nothing if the store fails."""
        try:
            plan = await self._storage.transact(lambda tx: self._planner.plan(tx, turn, asked))
        except ChatbotError as error:
            log_failure(error)
            return Recalled(decisions=(Decision.SEARCH_FAILED,))
        found = Recalled(
            items=plan.items.known(),
            passages=() if plan.atoms else None,
            decisions=plan.decisions,
        )
        try:
            return await self._found(plan, found, turn, asked)
        except ChatbotError as error:
            log_failure(error)
            return replace(found, decisions=(*found.decisions, Decision.SEARCH_FAILED))

    async def _found(
        self, plan: RecallPlan, found: Recalled, turn: Turn, asked: TurnContext
    ) -> Recalled:
        """Run all searches concurrently."""
        items, messages, passages = await asyncio.gather(
            self._items(plan),
            self._messages(plan, turn, asked),
            self._passages(plan, turn),
        )
        found = replace(found, messages=tuple(messages))
        if items:
            found = replace(found, items=plan.items.known(items))
        if found.passages is not None:
            found = replace(found, passages=tuple(passages))
        return _noted(found)

    async def _items(self, plan: RecallPlan) -> Sequence[Hit]:
        if not (plan.items.is_searched and plan.queries):
            return ()
        query, passages = plan.queries[-1], plan.items.passages
        return await self._search.texts(query.text, passages, limit=_SEARCHED)

    async def _messages(
        self, plan: RecallPlan, turn: Turn, asked: TurnContext
    ) -> Sequence[PastMessage]:
        if plan.messages is None:
            return ()

        async def search(query: Query) -> Iterable[Hit]:
            found = await self._search.messages(
                turn.owner,
                query.text,
                limit=_SEARCHED,
                without=asked.session.id,
                seen=plan.messages,
            )
            return query.relevant_messages(found)

        def read(tx: Transaction) -> Sequence[PastMessage]:
            words = frozenset[str]().union(*(query.words for query in plan.queries))
            return messages_of(
                tx, turn.principal, hits, person=plan.person, words=words, most=MOST_MESSAGES
            )

        hits = await _each(search, plan.queries)
        return await self._storage.transact(read) if hits else ()

    async def _passages(self, plan: RecallPlan, turn: Turn) -> Sequence[RecalledPassage]:
        if plan.documents is None:
            return ()
        readable = ReadablePassages(self._storage, turn.principal, turn.documents.labels)

        async def search(query: Query) -> Iterable[Hit]:
            found = await self._search.documents(
                plan.atoms,
                query.text,
                limit=_SEARCHED,
                labels=turn.documents.labels,
                seen=plan.documents,
                texts=readable.texts,
            )
            return query.relevant_passages(found)

        return readable.of(await _each(search, plan.queries), most=MOST_PASSAGES)


async def _each(
    search: Callable[[Query], Awaitable[Iterable[Hit]]], queries: Sequence[Query]
) -> Sequence[Hit]:
    """Return the hits of each query in turn, each once."""
    found = await asyncio.gather(*(search(query) for query in queries))
    rows = zip_longest(*found)
    hits = {(hit.parent, hit.seq): hit for row in rows for hit in row if hit is not None}
    return [*hits.values()]


def _noted(found: Recalled) -> Recalled:
    if found.passages != () or Decision.SEARCH_FAILED in found.decisions:
        return found
    return replace(found, decisions=(*found.decisions, Decision.NOTHING_RELEVANT))
