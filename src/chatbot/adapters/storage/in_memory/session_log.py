"""Sessions in dictionaries."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from chatbot.adapters.storage.message_index import MessageIndex
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
from chatbot.domain.ports.search import SearchIndex
from chatbot.domain.ports.session_log import SessionLog
from chatbot.domain.session_fields import is_in_title, require_no_hold

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class _Stored:
    session: Session
    messages: list[Message] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    lease: Lease | None = None


class InMemorySessionLog(SessionLog):
    """Sessions that last as long as their process."""

    def __init__(self, index: SearchIndex) -> None:
        self._index = MessageIndex(index)
        self._stored: dict[tuple[Owner, SessionId], _Stored] = {}
        self._counts = Counter[Owner]()

    def create(self, session: Session) -> None:
        if (session.owner, session.id) in self._stored:
            raise Conflict("The session already exists.")
        self._stored[session.owner, session.id] = _Stored(session)
        self._counts[session.owner] += 1

    def get(self, owner: Owner, session_id: SessionId) -> Session:
        return self._find(owner, session_id).session

    def count(self, owner: Owner) -> int:
        return self._counts[owner]

    def owners(self) -> Sequence[Owner]:
        return list({owner: None for owner, _ in self._stored})

    def owners_of(self, session_id: SessionId) -> Sequence[Owner]:
        return [owner for owner, each in self._stored if each == session_id]

    def page(
        self, owner: Owner, *, limit: int, after: SessionCursor | None = None, title: str = ""
    ) -> Sequence[Session]:
        def order(updated_at: datetime, session_id: SessionId) -> tuple[timedelta, SessionId]:
            return (_EPOCH - updated_at, session_id)

        own = [
            stored.session
            for (its_owner, _), stored in self._stored.items()
            if its_owner == owner and is_in_title(title, stored.session.title)
        ]
        own.sort(key=lambda session: order(session.updated_at, session.id))
        if after is not None:
            mark = order(after.updated_at, after.id)
            own = [session for session in own if order(session.updated_at, session.id) > mark]
        return own[:limit]

    def acquire(self, owner: Owner, session_id: SessionId, turn_id: TurnId) -> Lease:
        stored = self._find(owner, session_id)
        if stored.lease is not None:
            raise SessionBusy
        stored.lease = Lease(owner=owner, session_id=session_id, turn_id=turn_id)
        return stored.lease

    def release(self, lease: Lease) -> None:
        stored = self._stored.get((lease.owner, lease.session_id))
        if stored is not None and stored.lease == lease:
            stored.lease = None

    def append(self, lease: Lease, message: Message) -> Message:
        stored = self._held(lease)
        stored.session, numbered = stored.session.appended(message)
        stored.messages.append(numbered)
        self._index.append(lease, numbered)
        return numbered

    def read(
        self, owner: Owner, session_id: SessionId, selected: MessageRange
    ) -> Sequence[Message]:
        stored = self._find(owner, session_id)
        base, end = stored.session.reset_at, len(stored.messages)
        if selected.before is not None:
            end = max(0, selected.before - 1 - base)
        between = stored.messages[max(0, selected.after - base) : end]
        if selected.oldest:
            return between[: selected.limit]
        return between[max(0, len(between) - selected.limit) :]

    def memory(self, owner: Owner, session_id: SessionId) -> Memory:
        return self._find(owner, session_id).memory

    def put_memory(
        self, owner: Owner, session_id: SessionId, memory: Memory, *, epoch: int
    ) -> bool:
        stored = self._stored.get((owner, session_id))
        if (
            stored is None
            or stored.session.epoch != epoch
            or stored.memory.version != memory.version
        ):
            return False
        stored.memory = replace(memory, version=memory.version + 1)
        return True

    def update(self, lease: Lease, session: Session) -> Session:
        stored = self._held(lease)
        stored.session = stored.session.updated(session)
        return stored.session

    def trim(self, lease: Lease, upto: int) -> None:
        stored = self._held(lease)
        require_no_hold(stored.session.hold)
        upto = min(upto, stored.session.last_seq)
        if upto <= stored.session.reset_at:
            return
        left = [message for message in stored.messages if message.seq > upto]
        is_given = stored.session.title != title_of(stored.messages)
        title = stored.session.title if is_given else title_of(left)
        stored.session, stored.messages = stored.session.trimmed(upto, title), left
        self._index.remove(lease, upto=upto)

    def reset(self, lease: Lease, *, ts: datetime) -> None:
        stored = self._held(lease)
        require_no_hold(stored.session.hold)
        stored.session = stored.session.was_reset(ts)
        stored.messages, stored.memory = [], Memory()
        self._index.remove(lease)

    def delete(self, lease: Lease) -> None:
        require_no_hold(self._held(lease).session.hold)
        del self._stored[lease.owner, lease.session_id]
        self._counts[lease.owner] -= 1
        self._index.remove(lease)

    def clear(self, owner: Owner) -> None:
        if not self._counts[owner]:
            self._index.clear(owner)

    def _find(self, owner: Owner, session_id: SessionId) -> _Stored:
        try:
            return self._stored[owner, session_id]
        except KeyError as error:
            raise NotFound from error

    def _held(self, lease: Lease) -> _Stored:
        stored = self._stored.get((lease.owner, lease.session_id))
        if stored is None or stored.lease != lease:
            raise SessionBusy("The turn no longer holds the session.")
        return stored
