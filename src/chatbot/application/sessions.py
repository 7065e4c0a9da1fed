"""A caller's own sessions: begin, list, read, rename, export, reset, delete."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakValueDictionary

from chatbot.application.leases import retry_while_busy
from chatbot.application.session_room import SessionRoom
from chatbot.application.shown_citations import shown_view
from chatbot.application.transcripts import Transcript, seen_by_owner, transcript_of
from chatbot.domain.authorization import require
from chatbot.domain.chat import (
    MessageRange,
    Session,
    SessionCursor,
    SessionId,
    SessionView,
    TurnId,
)
from chatbot.domain.identity import Owner, Principal
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.session_fields import clean_title
from chatbot.domain.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of sessions. `next` is where the next page begins; None on the last page."""

    sessions: Sequence[Session]
    next: SessionCursor | None


class Sessions:
    """Manages the caller's own sessions.

    All methods raise `Forbidden` without the permission to chat, those that take a session id
    `NotFound` if the caller has no such session, and those that change one `SessionBusy` if a
    turn is running and does not end in time.
    """

    def __init__(self, storage: Storage, room: SessionRoom, *, clock: Clock, new_id: NewId) -> None:
        self._storage = storage
        self._room = room
        self._clock = clock
        self._new_id = new_id
        self._listing: WeakValueDictionary[Owner, asyncio.Lock] = WeakValueDictionary()

    async def begin(self, principal: Principal, title: str | None = None) -> SessionId:
        """Store a new, empty session and return its id.

        Raises:
            InvalidInput: see `clean_title`.
            TooManySessions: the caller has the maximum.
        """
        require(principal, Permission.CHAT)
        session_id, now = SessionId(self._new_id()), self._clock()
        new = Session(
            id=session_id,
            owner=principal.owner,
            title="" if title is None else clean_title(title),
            created_at=now,
            updated_at=now,
        )
        await self._storage.transact(lambda tx: self._room.create(tx, new))
        return session_id

    async def page(
        self, principal: Principal, *, limit: int, after: SessionCursor | None, title: str = ""
    ) -> Page:
        """List the caller's sessions whose title contains `title`, most recently used first.

        An owner gets one list at a time: with many sessions, a file store takes long, and
        concurrent lists would use up its threads.
        """
        require(principal, Permission.CHAT)
        async with self._listing.setdefault(principal.owner, asyncio.Lock()):
            found = await self._storage.transact(
                lambda tx: tx.sessions.page(
                    principal.owner, limit=limit + 1, after=after, title=title
                )
            )
        shown = found[:limit]
        more = len(found) > limit
        last = SessionCursor(updated_at=shown[-1].updated_at, id=shown[-1].id) if more else None
        return Page(sessions=shown, next=last)

    async def read(
        self, principal: Principal, session_id: SessionId, *, limit: int, before: int | None
    ) -> SessionView:
        """Return a session with its memory and its newest `limit` messages below `before`."""
        require(principal, Permission.CHAT)
        selected = MessageRange(limit=limit, before=before)

        def work(tx: Transaction) -> SessionView:
            found = tx.sessions.load(principal.owner, session_id, lambda *_: selected)
            return shown_view(tx, principal, seen_by_owner(tx, found))

        return await self._storage.transact(work)

    async def rename(self, principal: Principal, session_id: SessionId, title: str) -> Session:
        """Set the title of the session, which stays until a reset.

        Raises:
            InvalidInput: see `clean_title`.
        """
        require(principal, Permission.CHAT)
        owner, turn_id, clean = principal.owner, TurnId(self._new_id()), clean_title(title)

        def renamed(tx: Transaction) -> Session:
            with tx.sessions.held(owner, session_id, turn_id) as lease:
                session = tx.sessions.get(owner, session_id)
                return tx.sessions.update(lease, replace(session, title=clean))

        return await retry_while_busy(partial(self._storage.transact, renamed))

    async def export(self, principal: Principal, session_id: SessionId) -> Transcript:
        """Return a session as it is now, with all its messages.

        Its pages raise `NotFound` or `Conflict` if the session is deleted or reset before all have
        been read.
        """
        require(principal, Permission.CHAT)
        return await transcript_of(self._storage, principal, principal.owner, session_id)

    async def reset(self, principal: Principal, session_id: SessionId) -> SessionView:
        """Empty a session: messages, summary and memory."""
        require(principal, Permission.CHAT)
        owner, turn_id = principal.owner, TurnId(self._new_id())

        def emptied(tx: Transaction) -> SessionView:
            with tx.sessions.held(owner, session_id, turn_id) as lease:
                tx.person_memories.forget_messages(owner, session_id)
                tx.sessions.reset(lease, ts=self._clock())
                return seen_by_owner(tx, tx.sessions.load(owner, session_id))

        return await retry_while_busy(partial(self._storage.transact, emptied))

    async def delete(self, principal: Principal, session_id: SessionId) -> None:
        """Delete a session and everything that belongs to it."""
        require(principal, Permission.CHAT)
        owner, turn_id = principal.owner, TurnId(self._new_id())

        def deleted(tx: Transaction) -> None:
            with tx.sessions.held(owner, session_id, turn_id) as lease:
                tx.person_memories.forget_messages(owner, session_id)
                tx.sessions.delete(lease)

        await retry_while_busy(partial(self._storage.transact, deleted))
