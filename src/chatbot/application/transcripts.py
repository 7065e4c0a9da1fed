"""A whole conversation, read page by page."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from chatbot.application.shown_citations import shown
from chatbot.domain.chat import Message, MessageRange, Session, SessionId, SessionView
from chatbot.domain.errors import Conflict
from chatbot.domain.identity import Owner, Principal
from chatbot.domain.memory import Memory
from chatbot.domain.memory_views import with_view
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction

EXPORTED_AT_ONCE = 500
"""Messages of a page of a transcript."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A session with all its messages, oldest first, which are loaded page by page on demand."""

    session: Session
    memory: Memory
    pages: AsyncGenerator[Sequence[Message]]


async def transcript_of(
    storage: Storage, reader: Principal, owner: Owner, session_id: SessionId
) -> Transcript:
    """Return a session of the owner as it is now, with all its messages as the reader may see them.

    Its pages raise `NotFound` or `Conflict` if the session is deleted or reset before all have been
    read.

    Raises:
        NotFound: the owner has no such session.
    """

    def begun(tx: Transaction) -> tuple[SessionView, Sequence[Message]]:
        found = seen_by_owner(tx, tx.sessions.load(owner, session_id))
        return found, _page_of(tx, reader, found.session, after=0)

    found, first = await storage.transact(begun)
    pages = _pages(storage, reader, found.session, first)
    return Transcript(session=found.session, memory=found.memory, pages=pages)


def seen_by_owner(tx: Transaction, found: SessionView) -> SessionView:
    """Return the session with the items that were learned in it."""
    owner, session_id = found.session.owner, found.session.id
    memory = with_view(found.memory, tx.person_memories.of(owner), session_id)
    return replace(found, memory=memory)


async def _pages(
    storage: Storage, reader: Principal, session: Session, page: Sequence[Message]
) -> AsyncGenerator[Sequence[Message]]:
    while page:
        yield page
        after = page[-1].seq
        page = await storage.transact(
            partial(_page_of, reader=reader, session=session, after=after)
        )


def _page_of(
    tx: Transaction, reader: Principal, session: Session, *, after: int
) -> Sequence[Message]:
    """Return the next messages of a session as it was.

    Raises:
        NotFound: it was deleted since.
        Conflict: it was reset since.
    """
    selected = MessageRange(
        limit=EXPORTED_AT_ONCE, after=after, before=session.last_seq + 1, oldest=True
    )
    found = tx.sessions.read(session.owner, session.id, selected)
    if tx.sessions.get(session.owner, session.id).epoch != session.epoch:  # after having read
        raise Conflict("The session was reset during the export.")
    return shown(tx, reader, found)
