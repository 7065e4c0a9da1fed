"""Finds what a turn recalls besides its session: items, messages of other sessions, passages.

Only data that the caller may read is searched. If recall fails, the turn is answered without it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from chatbot.application.recall_plan import MemoryRecall, RecallPlan, RecallPlanner, log_failure
from chatbot.application.recalled_texts import messages_of, passages_of
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hits:
    items: Sequence[Hit] = ()
    messages: Sequence[Hit] = ()
    passages: Sequence[Hit] = ()


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
        hits = await self._hits(plan, turn, asked)
        if hits.items:
            found = replace(found, items=plan.items.known(hits.items))
        if not (hits.messages or hits.passages):
            return _noted(found)

        def read(tx: Transaction) -> tuple[Sequence[PastMessage], Sequence[RecalledPassage]]:
            words = frozenset[str]().union(*(query.words for query in plan.queries))
            who, labels = turn.principal, turn.documents.labels
            messages = messages_of(
                tx, who, hits.messages, person=plan.person, words=words, most=MOST_MESSAGES
            )
            passages = passages_of(tx, who, hits.passages, labels=labels, most=MOST_PASSAGES)
            return messages, passages

        messages, passages = await self._storage.transact(read)
        found = replace(found, messages=tuple(messages))
        if found.passages is not None:
            found = replace(found, passages=tuple(passages))
        return _noted(found)

    async def _hits(self, plan: RecallPlan, turn: Turn, asked: TurnContext) -> _Hits:
        """Run all searches concurrently."""
        search, owner = self._search, turn.owner

        async def items() -> Sequence[Hit]:
            if not (plan.items.is_searched and plan.queries):
                return ()
            query, passages = plan.queries[-1], plan.items.passages
            return await search.texts(query.text, passages, limit=_SEARCHED)

        async def messages(query: Query) -> Iterable[Hit]:
            found = await search.messages(
                owner,
                query.text,
                limit=_SEARCHED,
                without=asked.session.id,
                seen=plan.messages,
            )
            return query.relevant_messages(found)

        async def passages(query: Query) -> Iterable[Hit]:
            found = await search.documents(
                plan.atoms,
                query.text,
                limit=_SEARCHED,
                labels=turn.documents.labels,
                seen=plan.documents,
            )
            return query.relevant_passages(found)

        in_items, in_messages, in_documents = await asyncio.gather(
            items(),
            _each(messages, plan.queries if plan.messages is not None else ()),
            _each(passages, plan.queries if plan.documents is not None else ()),
        )
        return _Hits(items=in_items, messages=in_messages, passages=in_documents)


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
