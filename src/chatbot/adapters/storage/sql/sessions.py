"""Sessions, their messages and memory, as rows. Every WHERE clause contains the owner.

A lease is a turn id in the session's row, until a time by the database's clock. While a turn runs,
its replica renews the lease. When a replica dies, its leases expire, and the next turn acquires the
session; from then on the old turn writes nothing, because every write checks its turn. Until then a
late write is accepted: no one has written in between.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from chatbot.adapters.storage.json_values import Damaged
from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.rows import (
    memory_of,
    memory_values,
    message_of,
    message_values,
    owner_key,
    session_of,
    session_values,
)
from chatbot.adapters.storage.sql.tables import (
    memories,
    messages,
    sessions,
    unix_now,
)
from chatbot.domain.chat import (
    Lease,
    Message,
    MessageRange,
    Session,
    SessionCursor,
    SessionId,
    TurnId,
)
from chatbot.domain.errors import Conflict, NotFound, SessionBusy
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.session_log import SessionLog

LEASE_S = 20.0
RENEW_S = 5.0
"""Allows three failed renewals in a row: a database restart costs no one the session."""

NO_LEASE_S = 3 * LEASE_S
"""None lasts as long."""

# Made once: SQLAlchemy then finds each compiled form in its cache at the first look.
_IS_IT = and_(sessions.c.owner == bindparam("o"), sessions.c.id == bindparam("s"))
_IS_HELD = and_(_IS_IT, sessions.c.lease_turn == bindparam("turn"))
_IS_OF_IT = and_(messages.c.owner == bindparam("o"), messages.c.session_id == bindparam("s"))
_IS_ITS_MEMORY = and_(memories.c.owner == bindparam("o"), memories.c.session_id == bindparam("s"))

_SESSION = select(*(each for each in sessions.c if not each.name.startswith("lease_")))
_GET = _SESSION.where(_IS_IT)
_EXISTS = select(sessions.c.id).where(_IS_IT)
_PAGE = (
    _SESSION.where(sessions.c.owner == bindparam("o"))
    .order_by(sessions.c.updated_at.desc(), sessions.c.id)
    .limit(bindparam("n"))
)
_NEXT_PAGE = _PAGE.where(
    sessions.c.updated_at <= bindparam("at"),
    or_(sessions.c.updated_at < bindparam("at"), sessions.c.id > bindparam("mark")),
)
_BETWEEN = (
    select(messages)
    .where(_IS_OF_IT, messages.c.seq > bindparam("after"), messages.c.seq < bindparam("before"))
    .limit(bindparam("n"))
)
_NEWEST = _BETWEEN.order_by(messages.c.seq.desc())
_OLDEST = _BETWEEN.order_by(messages.c.seq)
_MEMORY = select(memories.c.content).select_from(sessions).outerjoin(memories).where(_IS_IT)
_APPEND = (
    update(sessions)
    .where(_IS_HELD)
    .values(
        last_seq=sessions.c.last_seq + 1,
        message_count=sessions.c.message_count + 1,
        updated_at=bindparam("ts"),
        title=func.coalesce(sessions.c.title, bindparam("title_now")),
    )
    .returning(sessions.c.last_seq)
)
_ADD_SESSION, _ADD_MESSAGE = insert(sessions), insert(messages)
_IS_FREE = or_(
    sessions.c.lease_until.is_(None),
    sessions.c.lease_until <= unix_now(),
    sessions.c.lease_until > unix_now() + NO_LEASE_S,  # the clock was set back
)
_ACQUIRE = (
    update(sessions)
    .where(_IS_IT, _IS_FREE)
    .values(
        lease_turn=bindparam("turn"),
        lease_replica=bindparam("replica"),
        lease_until=unix_now() + bindparam("seconds"),
    )
)
_RENEW = update(sessions).where(_IS_HELD).values(lease_until=unix_now() + bindparam("seconds"))
_RELEASE = (
    update(sessions).where(_IS_HELD).values(lease_turn=None, lease_replica=None, lease_until=None)
)
_LAST = 2**62


class SqlSessions(SessionLog):
    """The sessions as one piece of work sees them."""

    def __init__(self, sql: SqlSession, *, replica: str, lease_s: float) -> None:
        self._sql, self._replica, self._lease_s = sql, replica, lease_s

    def create(self, session: Session) -> None:
        try:
            self._sql.write(_ADD_SESSION, session_values(session, is_titled=False))
        except IntegrityError as error:
            raise Conflict("The session already exists.") from error

    def get(self, owner: Owner, session_id: SessionId) -> Session:
        row = self._sql.row(_GET, _key(owner, session_id))
        if row is None:
            raise NotFound
        return session_of(row)

    def page(
        self, owner: Owner, *, limit: int, after: SessionCursor | None = None
    ) -> Sequence[Session]:
        values: dict[str, object] = {"o": owner_key(owner), "n": limit}
        if after is None:
            rows = self._sql.rows(_PAGE, values)
        else:
            mark = {"at": after.updated_at, "mark": after.id}
            rows = self._sql.rows(_NEXT_PAGE, {**values, **mark})
        return [session_of(row) for row in rows]

    def acquire(self, owner: Owner, session_id: SessionId, turn_id: TurnId) -> Lease:
        lease = Lease(owner=owner, session_id=session_id, turn_id=turn_id)
        values = {**_held(lease), "replica": self._replica, "seconds": self._lease_s}
        if not self._sql.write(_ACQUIRE, values).rowcount:
            self._require(owner, session_id)
            raise SessionBusy
        return lease

    def release(self, lease: Lease) -> None:
        self._sql.write(_RELEASE, _held(lease))

    def append(self, lease: Lease, message: Message) -> Message:
        values = {**_held(lease), "ts": message.ts, "title_now": message.title or None}
        seq = self._sql.write(_APPEND, values).scalar()
        if seq is None:
            raise _lost()
        numbered = replace(message, seq=seq)
        values = message_values(lease.owner, lease.session_id, numbered)
        self._sql.write(_ADD_MESSAGE, values)
        return numbered

    def read(
        self, owner: Owner, session_id: SessionId, selected: MessageRange
    ) -> Sequence[Message]:
        before = _LAST if selected.before is None else selected.before
        bounds = {"after": selected.after, "before": before, "n": selected.limit}
        query = _OLDEST if selected.oldest else _NEWEST
        try:
            rows = self._sql.rows(query, {**_key(owner, session_id), **bounds})
            found = [message_of(row) for row in rows]
        except ValueError as error:
            raise Damaged("message: a value is not valid") from error
        if not found:
            self._require(owner, session_id)
        return found if selected.oldest else found[::-1]

    def memory(self, owner: Owner, session_id: SessionId) -> Memory:
        row = self._sql.row(_MEMORY, _key(owner, session_id))
        if row is None:
            raise NotFound
        return memory_of(row.content)

    def put_memory(
        self, owner: Owner, session_id: SessionId, memory: Memory, *, epoch: int
    ) -> bool:
        key = _key(owner, session_id)
        current = select(sessions.c.epoch).where(_IS_IT).with_for_update()
        if self._sql.write(current, key).scalar() != epoch:
            return False
        row = self._sql.row(select(memories.c.version).where(_IS_ITS_MEMORY), key)
        if (row.version if row else 0) != memory.version:
            return False
        new = replace(memory, version=memory.version + 1)
        values = memory_values(owner, session_id, new)
        if row is None:
            self._sql.write(insert(memories), values)
        else:
            self._sql.write(update(memories).where(_IS_ITS_MEMORY).values(values), key)
        return True

    def reset(self, lease: Lease, *, ts: datetime) -> None:
        emptied = {
            "title": None,
            "message_count": 0,
            "updated_at": ts,
            "epoch": sessions.c.epoch + 1,
        }
        done = self._sql.write(update(sessions).where(_IS_HELD).values(emptied), _held(lease))
        if not done.rowcount:
            raise _lost()
        key = _key(lease.owner, lease.session_id)
        self._sql.delete_securely(delete(messages).where(_IS_OF_IT), key)
        self._sql.delete_securely(delete(memories).where(_IS_ITS_MEMORY), key)

    def delete(self, lease: Lease) -> None:
        """Messages and memory go with the row (`ON DELETE CASCADE`)."""
        if not self._sql.delete_securely(delete(sessions).where(_IS_HELD), _held(lease)).rowcount:
            raise _lost()

    def _require(self, owner: Owner, session_id: SessionId) -> None:
        if self._sql.row(_EXISTS, _key(owner, session_id)) is None:
            raise NotFound


def renew(sql: SqlSession, leases: Iterable[Lease], *, seconds: float) -> None:
    """Renew the leases that no other turn has acquired."""
    for lease in leases:
        sql.write(_RENEW, {**_held(lease), "seconds": seconds})


def _key(owner: Owner, session_id: SessionId) -> dict[str, object]:
    return {"o": owner_key(owner), "s": session_id}


def _held(lease: Lease) -> dict[str, object]:
    """The values of `_IS_HELD`."""
    return {**_key(lease.owner, lease.session_id), "turn": lease.turn_id}


def _lost() -> SessionBusy:
    return SessionBusy("The turn no longer holds the session.")
