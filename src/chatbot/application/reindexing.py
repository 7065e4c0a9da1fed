"""Compares the search index with the stored messages, and indexes again what differs.

It may run beside the service: each session is reindexed under its lease, in several transactions.
The next run continues an interrupted one, because it finds what still differs.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from chatbot.application.leases import retry_while_busy
from chatbot.domain.chat import MessageRange, Session, SessionCursor, SessionId, TurnId
from chatbot.domain.errors import NotFound, SessionBusy
from chatbot.domain.identity import Owner
from chatbot.domain.ports.backend import Progress, unreported
from chatbot.domain.ports.runtime import NewId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import messages_scope, passages_of
from chatbot.domain.transaction import Transaction

_SESSIONS_AT_ONCE, _MESSAGES_AT_ONCE = 200, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Reindexed:
    """How many sessions were compared, reindexed, and skipped because they were in use."""

    compared: int = 0
    indexed: int = 0
    busy: int = 0


class Reindexing:
    """Keeps the index of messages consistent with the store."""

    def __init__(self, storage: Storage, *, new_id: NewId) -> None:
        self._storage, self._new_id = storage, new_id

    async def owners(self, email: str | None = None) -> Sequence[Owner]:
        """Return all owners of sessions, or only the user with this e-mail address.

        Raises:
            NotFound: there is no such user.
        """
        if email is None:
            return await self._storage.transact(lambda tx: tx.sessions.owners())
        user = await self._storage.transact(lambda tx: tx.users.by_email(email))
        if user is None:
            raise NotFound("No user has this e-mail address.")
        return [Owner(kind="user", id=user.id)]

    async def run(
        self, owners: Collection[Owner], *, every: bool = False, progress: Progress = unreported
    ) -> Reindexed:
        """Reindex the sessions that differ from the index, or every session."""
        counts = [await self._storage.transact(partial(_count, owner)) for owner in owners]
        compared = indexed = busy = 0
        for owner, count in zip(owners, counts, strict=True):
            differing = [each async for each in self._all(owner) if every]
            for session_id in differing or await self.differing(owner):
                try:
                    await self._index(owner, session_id)
                    indexed += 1
                except SessionBusy:
                    busy += 1
            compared += count
            progress(compared, sum(counts))
        return Reindexed(compared=compared, indexed=indexed, busy=busy)

    async def differing(self, owner: Owner) -> Sequence[SessionId]:
        """Return the sessions whose number of messages differs between the index and the store."""
        scope = messages_scope(owner)
        indexed = dict(await self._storage.transact(lambda tx: tx.index.indexed(scope)))
        doubtful = [
            each.id
            async for each in self._sessions(owner)
            if indexed.pop(each.id, 0) != each.message_count
        ]
        doubtful += map(SessionId, indexed)
        differs = {
            each: await self._storage.transact(partial(_differs, owner, each)) for each in doubtful
        }
        return [each for each in doubtful if differs[each]]

    async def _all(self, owner: Owner) -> AsyncIterator[SessionId]:
        async for session in self._sessions(owner):
            yield session.id

    async def _sessions(self, owner: Owner) -> AsyncIterator[Session]:
        after: SessionCursor | None = None
        while page := await self._storage.transact(partial(_page, owner, after)):
            for session in page:
                yield session
            after = SessionCursor(updated_at=page[-1].updated_at, id=page[-1].id)

    async def _index(self, owner: Owner, session_id: SessionId) -> None:
        """Reindex a session. Messages that arrive in the meantime are indexed with their turns."""
        turn_id = TurnId(self._new_id())

        async def done(after: int | None, last: int | None) -> tuple[int, int] | None:
            step = partial(_step, owner, session_id, turn_id, after=after, last=last)
            return await retry_while_busy(lambda: self._storage.transact(step))

        reached = await done(None, None)
        while reached is not None:
            reached = await done(*reached)


def _count(owner: Owner, tx: Transaction) -> int:
    return tx.sessions.count(owner)


def _page(owner: Owner, after: SessionCursor | None, tx: Transaction) -> Sequence[Session]:
    return tx.sessions.page(owner, limit=_SESSIONS_AT_ONCE, after=after)


def _differs(owner: Owner, session_id: SessionId, tx: Transaction) -> bool:
    indexed, wanted, after = tx.index.indexed(messages_scope(owner)).get(session_id, 0), 0, 0
    try:
        while messages := tx.sessions.read(owner, session_id, _range(after)):
            wanted += len(passages_of(messages))
            after = messages[-1].seq
    except NotFound:
        wanted = 0
    return indexed != wanted


def _step(
    owner: Owner,
    session_id: SessionId,
    turn_id: TurnId,
    tx: Transaction,
    *,
    after: int | None,
    last: int | None,
) -> tuple[int, int] | None:
    """Index a batch of messages.

    Returns the last one of the batch and the last one to index, if there are more. The first step,
    without numbers, first removes the session from the index.
    """
    scope = messages_scope(owner)
    try:
        with tx.sessions.held(owner, session_id, turn_id):
            if after is None or last is None:
                after, last = 0, tx.sessions.get(owner, session_id).last_seq
                tx.index.remove(scope, session_id)
            messages = tx.sessions.read(owner, session_id, _range(after, last + 1))
            tx.index.append(scope, session_id, passages_of(messages))
    except NotFound:
        tx.index.remove(scope, session_id)
        return None
    return (messages[-1].seq, last) if messages and messages[-1].seq < last else None


def _range(after: int, before: int | None = None) -> MessageRange:
    return MessageRange(limit=_MESSAGES_AT_ONCE, after=after, before=before, oldest=True)
