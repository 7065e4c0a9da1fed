"""Decides what a turn searches for, and reads its index in the same transaction."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from chatbot.application.recalled_items import ItemChoice
from chatbot.application.relevance import Query, queries_for
from chatbot.application.turn import Turn
from chatbot.domain.chat import MessageRole, Session, TurnContext
from chatbot.domain.documents import atoms_of
from chatbot.domain.errors import ChatbotError, cause_of
from chatbot.domain.identity import Owner
from chatbot.domain.person_memory import PersonMemory
from chatbot.domain.ports.search import Search, Snapshot, labelled
from chatbot.domain.recall import Decision
from chatbot.domain.search import Scope, messages_scope
from chatbot.domain.transaction import Transaction

logger = logging.getLogger("chatbot.chat")

_OWNERS_KEPT = 10_000


class MemoryRecall(StrEnum):
    """What may be recalled of other sessions."""

    ITEMS_AND_MESSAGES = "items+messages"
    ITEMS = "items"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallPlan:
    """What a turn searches for, and the rules that decided it.

    `messages` and `documents` are the indexes that are searched; None: not searched.
    """

    items: ItemChoice
    queries: Sequence[Query]
    person: PersonMemory
    atoms: frozenset[str]
    messages: Snapshot | None = None
    documents: Snapshot | None = None
    decisions: tuple[Decision, ...]


class RecallPlanner:
    """Plans what turns recall.

    Args:
        search: searches what it has looked at in a plan.
        memory: what may be recalled of other sessions.
        documents: whether documents are searched.
    """

    def __init__(self, search: Search, *, memory: MemoryRecall, documents: bool) -> None:
        self._search, self._memory, self._documents = search, memory, documents
        self._owners_of_many = set[Owner]()

    def plan(self, tx: Transaction, turn: Turn, asked: TurnContext) -> RecallPlan:
        person, session = tx.person_memories.of(turn.owner), asked.session
        before = [m.content for m in asked.history[:-1] if m.role is MessageRole.USER]
        queries = queries_for(turn.prompt, before[::-1])
        scopes, decided = self._permitted(tx, turn) if queries else ((), ())
        decisions = [*decided, *self._of_memory(person)]
        searches_messages = bool(queries) and _NO_MESSAGES.isdisjoint(decisions)
        if any(query.is_with_previous for query in queries):
            decisions.append(Decision.WITH_PREVIOUS_QUESTION)
        plan = RecallPlan(
            items=ItemChoice(
                person, session.id, other_sessions=self._memory is not MemoryRecall.OFF
            ),
            queries=queries,
            person=person,
            atoms=atoms_of(turn.principal) if scopes else frozenset(),
            decisions=tuple(decisions),
        )
        look = self._search.look
        try:
            if searches_messages and self._has_others(tx, session):
                plan = replace(plan, messages=look(tx.index, [messages_scope(turn.owner)]))
            if scopes:
                wanted = labelled(tx.index, scopes, turn.documents.labels)
                plan = replace(plan, documents=look(tx.index, wanted))
        except ChatbotError as error:
            log_failure(error)
            plan = replace(plan, decisions=(*plan.decisions, Decision.SEARCH_FAILED))
        return plan

    def _of_memory(self, person: PersonMemory) -> Sequence[Decision]:
        """Return which rules keep memory out of the turn."""
        if not person.settings.enabled:
            return [Decision.MEMORY_DISABLED]
        if self._memory is MemoryRecall.OFF:
            return [Decision.RECALL_OFF]
        if not person.settings.cross_session:
            return [Decision.OTHER_SESSIONS_DISABLED]
        return [Decision.MESSAGES_OFF] if self._memory is MemoryRecall.ITEMS else []

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

    def _permitted(self, tx: Transaction, turn: Turn) -> tuple[Sequence[Scope], Sequence[Decision]]:
        """Return the access classes of documents that the turn may use, or why there are none."""
        if not self._documents:
            return (), [Decision.DOCUMENTS_OFF]
        if turn.documents.is_off:
            return (), [Decision.DOCUMENTS_DECLINED]
        atoms = atoms_of(turn.principal)
        if not atoms:
            return (), [Decision.DOCUMENTS_NOT_PERMITTED]
        scopes = tx.index.scopes_for(atoms)
        return scopes, [] if scopes else [Decision.NO_DOCUMENTS]


_NO_MESSAGES = frozenset(
    {
        Decision.MEMORY_DISABLED,
        Decision.RECALL_OFF,
        Decision.OTHER_SESSIONS_DISABLED,
        Decision.MESSAGES_OFF,
    }
)


def log_failure(error: ChatbotError) -> None:
    logger.warning("recall failed; the turn continues without it: %s", cause_of(error))
