"""Sessions, their messages and memory, as rows. Every WHERE clause contains the owner."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from chatbot.adapters.storage.json_values import Damaged
from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.rows import (
    memory_of,
    memory_values,
    message_of,
    message_values,
    owner_key,
    owner_of,
    rest_of,
    session_of,
    session_values,
)
from chatbot.adapters.storage.sql.session_statements import (
    ACQUIRE,
    ADD_MESSAGE,
    ADD_SESSION,
    APPEND,
    COUNT,
    DELETE_OLD,
    EXISTS,
    GET,
    IS_HELD,
    IS_IT,
    IS_ITS_MEMORY,
    IS_OF_IT,
    LAST,
    MEMORY,
    NEWEST,
    NEXT_PAGE,
    NEXT_TITLES,
    OLDEST,
    OWNERS,
    OWNERS_OF,
    PAGE,
    RELEASE,
    TITLES,
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
    SessionCursor,
    SessionId,
    TurnId,
    title_of,
)
from chatbot.domain.errors import Conflict, NotFound, SessionBusy
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.session_log import SessionLog
from chatbot.domain.session_fields import caseless, require_no_hold

_FIRST = MessageRange(limit=2, oldest=True)
"""A question of the user is among them, after a crash too."""


class SqlSessions(SessionLog):
    """The sessions as one piece of work sees them."""

    def __init__(self, sql: SqlSession, *, replica: str, lease_s: float) -> None:
        self._sql, self._replica, self._lease_s = sql, replica, lease_s

    def create(self, session: Session) -> None:
        try:
            self._sql.write(ADD_SESSION, session_values(session, is_titled=False))
        except IntegrityError as error:
            raise Conflict("The session already exists.") from error

    def get(self, owner: Owner, session_id: SessionId) -> Session:
        row = self._sql.row(GET, key_values(owner, session_id))
        if row is None:
            raise NotFound
        return session_of(row)

    def count(self, owner: Owner) -> int:
        row = self._sql.row(COUNT, {"o": owner_key(owner)})
        return 0 if row is None else int(row[0])

    def owners(self) -> Sequence[Owner]:
        return [owner_of(row.owner) for row in self._sql.rows(OWNERS)]

    def owners_of(self, session_id: SessionId) -> Sequence[Owner]:
        return [owner_of(row.owner) for row in self._sql.rows(OWNERS_OF, {"s": session_id})]

    def page(
        self, owner: Owner, *, limit: int, after: SessionCursor | None = None, title: str = ""
    ) -> Sequence[Session]:
        if title:
            return self._titled(owner, title, limit=limit, after=after)
        values: dict[str, object] = {"o": owner_key(owner), "n": limit}
        if after is None:
            rows = self._sql.rows(PAGE, values)
        else:
            mark = {"at": after.updated_at, "mark": after.id}
            rows = self._sql.rows(NEXT_PAGE, {**values, **mark})
        return [session_of(row) for row in rows]

    def _titled(
        self, owner: Owner, title: str, *, limit: int, after: SessionCursor | None
    ) -> Sequence[Session]:
        """Compare here: what ignores case differs from one database to the other."""
        mark = {} if after is None else {"at": after.updated_at, "mark": after.id}
        query = TITLES if after is None else NEXT_TITLES
        rows = self._sql.rows(query, {"o": owner_key(owner), **mark})
        wanted = caseless(title)
        fitting = (row.id for row in rows if wanted in caseless(row.title))
        found = (self._sql.row(GET, key_values(owner, each)) for each in islice(fitting, limit))
        return [session_of(row) for row in found if row is not None]

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
        return numbered

    def read(
        self, owner: Owner, session_id: SessionId, selected: MessageRange
    ) -> Sequence[Message]:
        before = LAST if selected.before is None else selected.before
        bounds = {"after": selected.after, "before": before, "n": selected.limit}
        query = OLDEST if selected.oldest else NEWEST
        try:
            rows = self._sql.rows(query, {**key_values(owner, session_id), **bounds})
            found = [message_of(row) for row in rows]
        except ValueError as error:
            raise Damaged("message: a value is not valid") from error
        if not found:
            self._require(owner, session_id)
        return found if selected.oldest else found[::-1]

    def memory(self, owner: Owner, session_id: SessionId) -> Memory:
        row = self._sql.row(MEMORY, key_values(owner, session_id))
        if row is None:
            raise NotFound
        return memory_of(row.content)

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

    def delete(self, lease: Lease) -> None:
        """Messages and memory go with the row (`ON DELETE CASCADE`)."""
        self._require_no_hold(lease)
        if not self._sql.delete_securely(
            delete(sessions).where(IS_HELD), held_values(lease)
        ).rowcount:
            raise _lost()

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

    def _require(self, owner: Owner, session_id: SessionId) -> None:
        if self._sql.row(EXISTS, key_values(owner, session_id)) is None:
            raise NotFound


def _lost() -> SessionBusy:
    return SessionBusy("The turn no longer holds the session.")
