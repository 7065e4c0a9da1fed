"""Lets data protection read conversations of others and put them on hold.

Each access requires a reason, is recorded in the audit, and is shown to the person concerned.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from chatbot.application.auditing import Auditing
from chatbot.application.leases import retry_while_busy
from chatbot.application.shown_citations import shown_view
from chatbot.domain.access import Access, AccessKind, access_id, label_of
from chatbot.domain.audit import Action, AuditEvent
from chatbot.domain.authorization import require
from chatbot.domain.chat import (
    MessageRange,
    Session,
    SessionId,
    SessionView,
    TurnId,
    is_session_id,
)
from chatbot.domain.errors import Conflict, NotFound
from chatbot.domain.identity import Owner, Principal, UserId
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Found, Storage
from chatbot.domain.session_fields import Hold, clean_reason
from chatbot.domain.transaction import Transaction

_ACTIONS = {
    AccessKind.READ: Action.SESSION_READ,
    AccessKind.HOLD: Action.SESSION_HOLD,
    AccessKind.RELEASE: Action.SESSION_RELEASE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPage:
    """A page of accesses. `next` is the id after which the next page begins; None on the last page."""

    accesses: Sequence[Access]
    next: str | None


class Oversight:
    """Reads and holds sessions of any owner.

    Methods that take a session id raise `Forbidden` without the permission, whatever the id,
    `InvalidInput` if the reason is too short or too long, `NotFound` if no such session,
    and `Conflict` if several owners have one with this id.
    """

    def __init__(
        self, storage: Storage, auditing: Auditing, *, clock: Clock, new_id: NewId
    ) -> None:
        self._storage, self._auditing = storage, auditing
        self._clock, self._new_id = clock, new_id

    async def read(
        self, principal: Principal, session_id: str, reason: str, *, limit: int, before: int | None
    ) -> SessionView:
        """Return a session with its memory and its newest `limit` messages below `before`."""
        selected = MessageRange(limit=limit, before=before)

        def look(tx: Transaction, owner: Owner, known_id: SessionId) -> SessionView:
            return shown_view(tx, principal, tx.sessions.load(owner, known_id, lambda *_: selected))

        return await self._look(AccessKind.READ, principal, session_id, reason, look)

    async def hold(self, principal: Principal, session_id: str, reason: str) -> Session:
        """Put a session on hold, so that it is not reset, deleted, erased or expired.

        If it is already on hold, replace the reason.
        """
        require(principal, Permission.SESSIONS_READ_ANY)
        hold = Hold(reason=clean_reason(reason), at=self._clock())
        change = partial(self._held, hold)
        return await self._look(AccessKind.HOLD, principal, session_id, reason, change)

    async def release(self, principal: Principal, session_id: str, reason: str) -> Session:
        """Release a session from a hold. No-op if it is not on hold."""
        change = partial(self._held, None)
        return await self._look(AccessKind.RELEASE, principal, session_id, reason, change)

    def _held(
        self, hold: Hold | None, tx: Transaction, owner: Owner, session_id: SessionId
    ) -> Session:
        with tx.sessions.held(owner, session_id, TurnId(self._new_id())) as lease:
            session = tx.sessions.get(owner, session_id)
            return tx.sessions.update(lease, replace(session, hold=hold))

    async def accesses(self, user_id: UserId, *, limit: int, after: str) -> AccessPage:
        """Return the accesses of others to a person's data, newest first."""
        found = await self._storage.transact(
            lambda tx: tx.accesses.of(user_id, limit=limit + 1, after=after)
        )
        shown = found[:limit]
        return AccessPage(accesses=shown, next=shown[-1].id if len(found) > limit else None)

    async def _look(
        self,
        action: AccessKind,
        principal: Principal,
        session_id: str,
        reason: str,
        look: Callable[[Transaction, Owner, SessionId], Found],
    ) -> Found:
        """Do the work, after recording it."""
        require(principal, Permission.SESSIONS_READ_ANY)
        clean = clean_reason(reason)
        if not is_session_id(session_id):
            raise NotFound
        known_id = SessionId(session_id)

        def work(tx: Transaction) -> Found:
            owner = _owner_of(tx, known_id)
            event = AuditEvent(
                action=_ACTIONS[action],
                object_type="session",
                object_id=known_id,
                owner=owner.id,
                reason=clean,
            )
            with self._auditing.recording(tx, principal, event):
                if owner.kind == "user":
                    tx.accesses.add(self._access(action, principal, owner, known_id, clean))
                return look(tx, owner, known_id)

        return await retry_while_busy(partial(self._storage.transact, work))

    def _access(
        self,
        action: AccessKind,
        principal: Principal,
        owner: Owner,
        session_id: SessionId,
        reason: str,
    ) -> Access:
        at = self._clock()
        return Access(
            id=access_id(at, self._new_id()),
            user_id=UserId(owner.id),
            action=action,
            at=at,
            by=label_of(principal),
            session_id=session_id,
            reason=reason,
        )


def _owner_of(tx: Transaction, session_id: SessionId) -> Owner:
    owners = tx.sessions.owners_of(session_id)
    if not owners:
        raise NotFound
    if len(owners) > 1:
        raise Conflict("Several owners have a session with this id.")
    return owners[0]
