"""Sessions, their messages and memory, as rows. Every WHERE clause contains the owner."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from chatbot.adapters.storage.message_index import MessageIndex
from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.rows import (
    memory_values,
    message_values,
    rest_of,
    session_of,
    session_values,
)
from chatbot.adapters.storage.sql.session_reader import SqlSessionReader
from chatbot.adapters.storage.sql.session_statements import (
    ACQUIRE,
    ADD_MESSAGE,
    ADD_SESSION,
    APPEND,
    DELETE_OLD,
    GET,
    IS_HELD,
    IS_IT,
    IS_ITS_MEMORY,
    IS_OF_IT,
    RELEASE,
    held_values,
    key_values,
)
from chatbot.adapters.storage.sql.tables import (
    memories,
    messages,
    sessions,
)
from chatbot.domain.chat import (
    Lease,
    Message,
    MessageRange,
    Session,
    SessionId,
    TurnId,
    title_of,
)
from chatbot.domain.errors import Conflict, SessionBusy
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.search import SearchIndex
from chatbot.domain.ports.session_log import SessionLog
from chatbot.domain.session_fields import require_no_hold

_FIRST = MessageRange(limit=2, oldest=True)
"""A question of the user is among them, after a crash too."""


class SqlSessions(SqlSessionReader, SessionLog):
    """The sessions as one piece of work sees them."""

    def __init__(
        self, sql: SqlSession, index: SearchIndex, *, replica: str, lease_s: float
    ) -> None:
        super().__init__(sql)
        self._index = MessageIndex(index)
        self._replica, self._lease_s = replica, lease_s

    def create(self, session: Session) -> None:
        try:
            self._sql.write(ADD_SESSION, session_values(session, is_titled=False))
        except IntegrityError as error:
            raise Conflict("The session already exists.") from error

    def acquire(self, owner: Owner, session_id: SessionId, turn_id: TurnId) -> Lease:
        lease = Lease(owner=owner, session_id=session_id, turn_id=turn_id)
        values = {**held_values(lease), "replica": self._replica, "seconds": self._lease_s}
        if not self._sql.write(ACQUIRE, values).rowcount:
            self._require(owner, session_id)
            raise SessionBusy
        return lease

    def release(self, lease: Lease) -> None:
        self._sql.write(RELEASE, held_values(lease))

    def append(self, lease: Lease, message: Message) -> Message:
        values = {**held_values(lease), "ts": message.ts, "title_now": message.title or None}
        seq = self._sql.write(APPEND, values).scalar()
        if seq is None:
            raise _lost()
        numbered = replace(message, seq=seq)
        values = message_values(lease.owner, lease.session_id, numbered)
        self._sql.write(ADD_MESSAGE, values)
        self._index.append(lease, numbered)
        return numbered

    def put_memory(
        self, owner: Owner, session_id: SessionId, memory: Memory, *, epoch: int
    ) -> bool:
        key = key_values(owner, session_id)
        current = select(sessions.c.epoch).where(IS_IT).with_for_update()
        if self._sql.write(current, key).scalar() != epoch:
            return False
        row = self._sql.row(select(memories.c.version).where(IS_ITS_MEMORY), key)
        if (row.version if row else 0) != memory.version:
            return False
        new = replace(memory, version=memory.version + 1)
        values = memory_values(owner, session_id, new)
        if row is None:
            self._sql.write(insert(memories), values)
        else:
            self._sql.write(update(memories).where(IS_ITS_MEMORY).values(values), key)
        return True

    def update(self, lease: Lease, session: Session) -> Session:
        now = self.get(lease.owner, lease.session_id)
        updated = now.updated(session)
        values: dict[str, object] = {"rest": rest_of(updated)}
        if updated.title != now.title:
            values["title"] = updated.title
        self._set(lease, values)
        return updated

    def trim(self, lease: Lease, upto: int) -> None:
        self._require_no_hold(lease)
        owner, session_id = lease.owner, lease.session_id
        now, key = self.get(owner, session_id), key_values(owner, session_id)
        upto = min(upto, now.last_seq)
        if upto <= now.reset_at:
            return
        first = self.read(owner, session_id, _FIRST)
        left = self.read(owner, session_id, replace(_FIRST, after=upto))
        title = now.title if now.title != title_of(first) else title_of(left)
        trimmed = now.trimmed(upto, title)
        count = trimmed.message_count
        values: dict[str, object] = {
            "title": title or None,
            "message_count": count,
            "rest": rest_of(trimmed),
        }
        self._set(lease, values)
        self._sql.delete_securely(DELETE_OLD, {**key, "upto": upto})
        self._index.remove(lease, upto=upto)

    def reset(self, lease: Lease, *, ts: datetime) -> None:
        self._require_no_hold(lease)
        emptied: dict[str, object] = {
            "title": None,
            "message_count": 0,
            "updated_at": ts,
            "epoch": sessions.c.epoch + 1,
            "rest": None,
        }
        self._set(lease, emptied)
        key = key_values(lease.owner, lease.session_id)
        self._sql.delete_securely(delete(messages).where(IS_OF_IT), key)
        self._sql.delete_securely(delete(memories).where(IS_ITS_MEMORY), key)
        self._index.remove(lease)

    def delete(self, lease: Lease) -> None:
        """Messages and memory go with the row (`ON DELETE CASCADE`)."""
        self._require_no_hold(lease)
        if not self._sql.delete_securely(
            delete(sessions).where(IS_HELD), held_values(lease)
        ).rowcount:
            raise _lost()
        self._index.remove(lease)

    def clear(self, owner: Owner) -> None:
        """Nothing of the owner's words is left in the index, not in folded segments either."""
        if not self.count(owner):
            self._index.clear(owner)

    def _set(self, lease: Lease, values: Mapping[str, object]) -> None:
        statement = update(sessions).where(IS_HELD).values(values)
        if not self._sql.write(statement, held_values(lease)).rowcount:
            raise _lost()

    def _require_no_hold(self, lease: Lease) -> None:
        """The lease keeps others from changing it until the end of the transaction."""
        row = self._sql.write(
            GET.with_for_update(), key_values(lease.owner, lease.session_id)
        ).first()
        if row is not None:
            require_no_hold(session_of(row).hold)


def _lost() -> SessionBusy:
    return SessionBusy("The turn no longer holds the session.")
