"""Reading sessions, their messages and memory. Every WHERE clause contains the owner."""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice

from chatbot.adapters.storage.json_values import Damaged
from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.rows import (
    memory_of,
    message_of,
    owner_key,
    owner_of,
    session_of,
)
from chatbot.adapters.storage.sql.session_statements import (
    COUNT,
    EXISTS,
    GET,
    LAST,
    MEMORY,
    NEWEST,
    NEXT_PAGE,
    NEXT_TITLES,
    OF_SEVERAL,
    OLDEST,
    OWNERS,
    OWNERS_OF,
    PAGE,
    TITLES,
    key_values,
)
from chatbot.domain.chat import (
    Message,
    MessageRange,
    Session,
    SessionCursor,
    SessionId,
)
from chatbot.domain.errors import NotFound
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.session_log import MessageKey
from chatbot.domain.session_fields import caseless


class SqlSessionReader:
    """The reading half of the sessions."""

    def __init__(self, sql: SqlSession) -> None:
        self._sql = sql

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

    def with_next(
        self, owner: Owner, keys: Collection[MessageKey]
    ) -> Mapping[MessageKey, Sequence[Message]]:
        """Read all of them by one statement."""
        wanted = {(session_id, seq + n) for session_id, seq in keys for n in (0, 1)}
        values = {"o": owner_key(owner), "keys": sorted(wanted)}
        try:
            rows = self._sql.rows(OF_SEVERAL, values) if wanted else ()
            found = {(SessionId(row.session_id), row.seq): message_of(row) for row in rows}
        except ValueError as error:
            raise Damaged("message: a value is not valid") from error
        both = {key: (key, (key[0], key[1] + 1)) for key in keys if key in found}
        return {key: [found[each] for each in two if each in found] for key, two in both.items()}

    def memory(self, owner: Owner, session_id: SessionId) -> Memory:
        row = self._sql.row(MEMORY, key_values(owner, session_id))
        if row is None:
            raise NotFound
        return memory_of(row.content)

    def _require(self, owner: Owner, session_id: SessionId) -> None:
        if self._sql.row(EXISTS, key_values(owner, session_id)) is None:
            raise NotFound
