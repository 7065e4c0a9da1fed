"""Deletes conversations that have expired, unless they are on hold.

Every process of a service checks once an hour, and one of them does the work. A clock that jumps
must not
delete everything: after a gap of more than 26 hours without a run, which is how a jump looks, and in
a store without an earlier run, nothing is deleted for a day.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from chatbot.application.auditing import Auditing
from chatbot.domain.audit import Action, AuditEvent, Stage
from chatbot.domain.authorization import of_host
from chatbot.domain.chat import (
    Message,
    MessageRange,
    MessageRole,
    Session,
    SessionCursor,
    SessionId,
    TurnId,
)
from chatbot.domain.errors import Conflict, NotFound, StorageFailure, cause_of
from chatbot.domain.identity import Owner, Principal, UserId
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.retention import RetentionRule, days_of
from chatbot.domain.transaction import Transaction

logger = logging.getLogger("chatbot.retention")

_FIRST_AFTER_S, _AGAIN_AFTER_S = 60.0, 600.0
_SESSIONS_AT_ONCE, _MESSAGES_AT_ONCE = 20, 500
_FIRST_ID = SessionId("")

Rules = Callable[[Transaction], Sequence[RetentionRule]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a run deleted, or would delete.

    `doubted_since`: nothing was deleted, because the clock may be wrong since then.
    """

    sessions: int = 0
    messages: int = 0
    held: int = 0
    doubted_since: datetime | None = None

    def __str__(self) -> str:
        return f"sessions {self.sessions}, messages {self.messages}, on hold {self.held}"


class Retention:
    """Deletes what has expired.

    Args:
        sessions_days: the days after its last message after which a session is deleted.
        messages_days: the days after which a message is deleted. 0 = never, for both.
        rules: the rules in the store, which precede `sessions_days`.
    """

    def __init__(
        self,
        storage: Storage,
        auditing: Auditing,
        *,
        sessions_days: int,
        messages_days: int,
        rules: Rules,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._storage, self._auditing = storage, auditing
        self._sessions_days, self._messages_days = sessions_days, messages_days
        self._rules, self._clock, self._new_id = rules, clock, new_id

    async def repeat(self, also: Callable[[], Awaitable[object]]) -> None:
        """Check periodically, and do the other work, until cancelled."""
        await asyncio.sleep(_FIRST_AFTER_S)
        while True:
            try:
                await also()
                await self.run(of_host("service"))
            except (StorageFailure, Conflict) as error:
                logger.warning("expired conversations could not be deleted: %s", cause_of(error))
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def run(
        self,
        principal: Principal,
        *,
        is_asked_for: bool = False,
        is_dry: bool = False,
        trusts_clock: bool = False,
    ) -> Swept | None:
        """Delete what has expired; None if another process does it, or it is not due yet.

        `is_asked_for`: even if it is not due. `trusts_clock`: even if the clock may have jumped.
        `is_dry`: only count.
        """
        now = self._clock()
        if is_dry:
            return await self._swept(now, is_dry=True)
        claim = await self._storage.transact(
            lambda tx: tx.retention_runs.claim(now, is_asked_for=is_asked_for)
        )
        if claim is None:
            return None
        if claim.doubted_since is not None and not trusts_clock:
            if not is_asked_for:
                await self._warn_of_what_stays(now, claim.doubted_since)
            return Swept(doubted_since=claim.doubted_since)
        await self._note(principal, Stage.INTENT, None)
        swept = await self._swept(now, is_dry=False)
        await self._note(principal, Stage.DONE, str(swept))
        return swept

    async def _warn_of_what_stays(self, now: datetime, doubted_since: datetime) -> None:
        """Log what has expired and is kept; where nothing has, as in a new store, log nothing."""
        due = await self._swept(now, is_dry=True)
        if due.sessions or due.messages:
            logger.warning(
                "expired conversations (%s) were not deleted, because the clock may have jumped: "
                "it says %s; deletion starts one day after %s",
                due,
                now.isoformat(),
                doubted_since.isoformat(),
            )

    async def _note(self, principal: Principal, stage: Stage, reason: str | None) -> None:
        event = AuditEvent(
            action=Action.RETENTION_RUN,
            object_type="retention",
            object_id="sessions",
            reason=reason,
            stage=stage,
        )
        await self._storage.transact(lambda tx: self._auditing.note(tx, principal, event))

    async def _swept(self, now: datetime, *, is_dry: bool) -> Swept:
        owners, rules = await self._storage.transact(
            lambda tx: (tx.sessions.owners(), self._rules(tx))
        )
        counts = Counter[str]()
        for owner in owners:
            days = await self._days_of(owner, rules)
            if days:
                counts += await self._sweep_sessions(owner, now - timedelta(days=days), is_dry)
            if self._messages_days:
                before = now - timedelta(days=self._messages_days)
                counts += await self._sweep_messages(owner, before, is_dry)
        return Swept(sessions=counts["sessions"], messages=counts["messages"], held=counts["held"])

    async def _days_of(self, owner: Owner, rules: Sequence[RetentionRule]) -> int:
        if not rules:
            return self._sessions_days
        user = None
        if owner.kind == "user":
            user = await self._storage.transact(lambda tx: tx.users.by_id(UserId(owner.id)))
        roles = () if user is None else user.roles
        return days_of(roles, rules, default=self._sessions_days)

    async def _sweep_sessions(
        self, owner: Owner, before: datetime, is_dry: bool
    ) -> Counter[str]:  # as `is_dry` above
        counts = Counter[str]()
        after: SessionCursor | None = SessionCursor(updated_at=before, id=_FIRST_ID)
        while after is not None:
            work = partial(self._delete_some, owner, after, is_dry)
            found, after = await self._storage.transact(work)
            counts += found
        return counts

    def _delete_some(
        self,
        owner: Owner,
        after: SessionCursor,
        is_dry: bool,
        tx: Transaction,  # as above
    ) -> tuple[Counter[str], SessionCursor | None]:
        page = tx.sessions.page(owner, limit=_SESSIONS_AT_ONCE, after=after)
        counts = Counter[str]()
        for session in page:
            if session.hold is not None:
                counts["held"] += 1
            elif is_dry or self._deleted(tx, session):
                counts += Counter(sessions=1, messages=session.message_count)
        return counts, _mark_of(page, limit=_SESSIONS_AT_ONCE)

    def _deleted(self, tx: Transaction, session: Session) -> bool:
        """Delete a session, unless a turn has begun or a hold was put on it since."""
        try:
            with tx.sessions.held(session.owner, session.id, TurnId(self._new_id())) as lease:
                if tx.sessions.get(session.owner, session.id).updated_at != session.updated_at:
                    return False
                tx.person_memories.forget_messages(session.owner, session.id)
                tx.sessions.delete(lease)
        except (Conflict, NotFound):
            return False
        return True

    async def _sweep_messages(
        self, owner: Owner, before: datetime, is_dry: bool
    ) -> Counter[str]:  # as above
        counts, after = Counter[str](), None
        while True:
            page = await self._storage.transact(partial(_page_of, owner, after))
            for session in page:
                if session.created_at < before and session.message_count and session.hold is None:
                    work = partial(self._trim, session, before, is_dry)
                    counts["messages"] += await self._storage.transact(work)
            after = _mark_of(page, limit=_MESSAGES_AT_ONCE)
            if after is None:
                return counts

    def _trim(
        self, session: Session, before: datetime, is_dry: bool, tx: Transaction
    ) -> int:  # as above
        """Remove the old messages of a session, and return their number."""
        try:
            upto = _last_before(tx, session, before)
            if upto > session.reset_at and not is_dry:
                with tx.sessions.held(session.owner, session.id, TurnId(self._new_id())) as lease:
                    tx.person_memories.forget_messages(session.owner, session.id, upto=upto)
                    tx.sessions.trim(lease, upto)
        except (Conflict, NotFound):
            return 0
        return upto - session.reset_at


def _page_of(owner: Owner, after: SessionCursor | None, tx: Transaction) -> Sequence[Session]:
    return tx.sessions.page(owner, limit=_MESSAGES_AT_ONCE, after=after)


def _mark_of(page: Sequence[Session], *, limit: int) -> SessionCursor | None:
    """Return where the next page begins; None after the last one."""
    if len(page) < limit:
        return None
    return SessionCursor(updated_at=page[-1].updated_at, id=page[-1].id)


def _last_before(tx: Transaction, session: Session, before: datetime) -> int:
    """Return the number of the last message of a whole turn before this moment."""
    upto, last = session.reset_at, session.reset_at
    while page := _oldest_after(tx, session, last):
        for message in page:
            if message.ts >= before:
                return upto
            if message.role is MessageRole.ASSISTANT:
                upto = message.seq
        last = page[-1].seq
    return upto


def _oldest_after(tx: Transaction, session: Session, seq: int) -> Sequence[Message]:
    selected = MessageRange(limit=_MESSAGES_AT_ONCE, after=seq, oldest=True)
    return tx.sessions.read(session.owner, session.id, selected)
