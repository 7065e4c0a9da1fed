"""Searching the labelled conversations of a person as a turn does."""

from collections.abc import Callable, Sequence
from functools import partial

from chatbot.adapters.search.searcher import Searcher
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.domain.identity import Owner
from chatbot.domain.permissions import DEFAULT_ROLES
from chatbot.domain.search import Passage, messages_scope
from chatbot.domain.transaction import Transaction
from labelled_questions import MemoryQuestion, Rememberer, session_name

OWNER = Owner(kind="user", id="a" * 32)


async def missed_questions(
    person: Rememberer, *, first: int, written: Callable[[str], str] = str
) -> Sequence[MemoryQuestion]:
    """Returns the questions whose answer is not among the first messages that are found."""
    storage = InMemoryStorage(DEFAULT_ROLES)
    await storage.transact(partial(_remember, person))
    searcher = Searcher(storage, lambda _, __: {})
    missed = []
    for question in person.questions:
        hits = await searcher.messages(OWNER, written(question.text), limit=first)
        if not any(question.is_answered_by(hit.parent, hit.seq) for hit in hits):
            missed.append(question)
    await searcher.aclose()
    return missed


def _remember(person: Rememberer, tx: Transaction) -> None:
    for number, session in enumerate(person.sessions):
        passages = [
            Passage(seq=seq, text=said.text, role=said.role) for seq, said in enumerate(session, 1)
        ]
        tx.index.append(messages_scope(OWNER), session_name(number), passages)
