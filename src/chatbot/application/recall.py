"""Finds what a turn recalls besides its session: items, messages of other sessions, passages.

Only data that the caller may read is searched. If recall fails, the turn is answered without it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import zip_longest

from chatbot.application.recalled_items import ItemChoice
from chatbot.application.recalled_texts import messages_of, passages_of
from chatbot.application.relevance import Query, queries_for
from chatbot.application.turn import Turn
from chatbot.domain.chat import MessageRole, Session, TurnContext
from chatbot.domain.documents import search_atoms_of
from chatbot.domain.errors import ChatbotError, cause_of
from chatbot.domain.identity import Owner
from chatbot.domain.person_memory import PersonMemory
from chatbot.domain.ports.search import Search
from chatbot.domain.ports.storage import Storage
from chatbot.domain.recall import Decision, PastMessage, Recalled, RecalledPassage
from chatbot.domain.search import Hit
from chatbot.domain.transaction import Transaction

logger = logging.getLogger("chatbot.chat")

MOST_MESSAGES = 5
MOST_PASSAGES = 4
_OWNERS_KEPT = 10_000
_SEARCHED = 12
"""Hits of a search, of which some are not relevant enough."""


class MemoryRecall(StrEnum):
    """What may be recalled of other sessions."""

    ITEMS_AND_MESSAGES = "items+messages"
    ITEMS = "items"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a turn searches for, and the rules that decided it."""

    items: ItemChoice
    queries: Sequence[Query]
    messages: bool
    person: PersonMemory
    atoms: frozenset[str]
    decisions: tuple[Decision, ...]


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
        self._memory, self._documents = memory, documents
        self._owners_of_many = set[Owner]()

    async def recall(self, turn: Turn, asked: TurnContext) -> Recalled:
        """Return what was found; nothing if the store fails."""
        try:
            plan = await self._storage.transact(lambda tx: self._plan(tx, turn, asked))
        except ChatbotError as error:
            _log(error)
            return Recalled(decisions=(Decision.SEARCH_FAILED,))
        found = Recalled(
            items=plan.items.known(),
            passages=() if plan.atoms else None,
            decisions=plan.decisions,
        )
        try:
            return await self._found(plan, found, turn, asked)
        except ChatbotError as error:
            _log(error)
            return replace(found, decisions=(*found.decisions, Decision.SEARCH_FAILED))

    def _plan(self, tx: Transaction, turn: Turn, asked: TurnContext) -> _Plan:
        person, session_id = tx.person_memories.of(turn.owner), asked.session.id
        before = [m.content for m in asked.history[:-1] if m.role is MessageRole.USER]
        queries = queries_for(turn.prompt, before[::-1])
        atoms, decided = self._permitted(tx, turn) if queries else (frozenset[str](), ())
        decisions = [*decided]
        if not person.settings.enabled:
            decisions.append(Decision.MEMORY_DISABLED)
        elif self._memory is MemoryRecall.OFF:
            decisions.append(Decision.RECALL_OFF)
        elif not person.settings.cross_session:
            decisions.append(Decision.OTHER_SESSIONS_DISABLED)
        elif self._memory is MemoryRecall.ITEMS:
            decisions.append(Decision.MESSAGES_OFF)
        if any(query.is_with_previous for query in queries):
            decisions.append(Decision.WITH_PREVIOUS_QUESTION)
        return _Plan(
            items=ItemChoice(
                person, session_id, other_sessions=self._memory is not MemoryRecall.OFF
            ),
            queries=queries,
            messages=bool(queries)
            and _NO_MESSAGES.isdisjoint(decisions)
            and self._has_others(tx, asked.session),
            person=person,
            atoms=atoms,
            decisions=tuple(decisions),
        )

    def _has_others(self, tx: Transaction, session: Session) -> bool:
        """Whether the owner has other sessions. Once true, it is not looked up again."""
        if session.owner in self._owners_of_many:
            return True
        newest = tx.sessions.page(session.owner, limit=2)
        if all(each.id == session.id for each in newest):
            return False
        if len(self._owners_of_many) >= _OWNERS_KEPT:
            self._owners_of_many.clear()
        self._owners_of_many.add(session.owner)
        return True

    def _permitted(self, tx: Transaction, turn: Turn) -> tuple[frozenset[str], Sequence[Decision]]:
        """Return the caller's atoms if there is a document that the turn may use."""
        if not self._documents:
            return frozenset(), [Decision.DOCUMENTS_OFF]
        if turn.documents.is_off:
            return frozenset(), [Decision.DOCUMENTS_DECLINED]
        atoms = search_atoms_of(turn.principal)
        if not atoms:
            return frozenset(), [Decision.DOCUMENTS_NOT_PERMITTED]
        if not tx.index.scopes_for(atoms):
            return frozenset(), [Decision.NO_DOCUMENTS]
        return atoms, []

    async def _found(
        self, plan: _Plan, found: Recalled, turn: Turn, asked: TurnContext
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

    async def _hits(self, plan: _Plan, turn: Turn, asked: TurnContext) -> _Hits:
        """Run all searches concurrently."""
        search, owner = self._search, turn.owner

        async def items() -> Sequence[Hit]:
            if not (plan.items.is_searched and plan.queries):
                return ()
            query, passages = plan.queries[-1], plan.items.passages
            return await search.texts(query.text, passages, limit=_SEARCHED)

        async def messages(query: Query) -> Iterable[Hit]:
            found = await search.messages(
                owner, query.text, limit=_SEARCHED, without=asked.session.id
            )
            return query.relevant_messages(found)

        async def passages(query: Query) -> Iterable[Hit]:
            found = await search.documents(
                plan.atoms, query.text, limit=_SEARCHED, labels=turn.documents.labels
            )
            return query.relevant_passages(found)

        in_items, in_messages, in_documents = await asyncio.gather(
            items(),
            _each(messages, plan.queries if plan.messages else ()),
            _each(passages, plan.queries if plan.atoms else ()),
        )
        return _Hits(items=in_items, messages=in_messages, passages=in_documents)


_NO_MESSAGES = frozenset(
    {
        Decision.MEMORY_DISABLED,
        Decision.RECALL_OFF,
        Decision.OTHER_SESSIONS_DISABLED,
        Decision.MESSAGES_OFF,
    }
)


async def _each(
    search: Callable[[Query], Awaitable[Iterable[Hit]]], queries: Sequence[Query]
) -> Sequence[Hit]:
    """Return the hits of each query in turn, each once."""
    found = await asyncio.gather(*(search(query) for query in queries))
    rows = zip_longest(*found)
    hits = {(hit.parent, hit.seq): hit for row in rows for hit in row if hit is not None}
    return [*hits.values()]


def _noted(found: Recalled) -> Recalled:
    if found.passages != ():
        return found
    return replace(found, decisions=(*found.decisions, Decision.NOTHING_RELEVANT))


def _log(error: ChatbotError) -> None:
    logger.warning("recall failed; the turn continues without it: %s", cause_of(error))
