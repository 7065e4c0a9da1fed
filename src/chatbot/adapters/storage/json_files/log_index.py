"""Keeps the index of messages in sync with the logs of sessions, from which it is derived.

What any process wrote to the logs is indexed before the next search of their owner: this
process, another one, a restored backup. Messages that are removed from a log are removed from the
index immediately.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from chatbot.adapters.search.caches import IndexCache
from chatbot.adapters.search.records import record_of
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.adapters.storage.json_files.index_file import IndexFile
from chatbot.adapters.storage.json_files.index_session import IndexSession
from chatbot.adapters.storage.json_files.log_marks import (
    LogMark,
    digest_of,
    drop_mark,
    drop_marks,
    mark_of,
    marks_of,
    put_mark,
)
from chatbot.adapters.storage.json_files.log_reader import LogReader
from chatbot.adapters.storage.json_files.paths import SessionPaths
from chatbot.adapters.storage.json_files.session_reader import SessionReader
from chatbot.adapters.storage.json_values import Damaged
from chatbot.domain.chat import Message, MessageRange, SessionId
from chatbot.domain.errors import NotFound, StorageFailure, cause_of
from chatbot.domain.identity import Owner
from chatbot.domain.search import messages_scope, passages_of

_AT_ONCE = 500
"""The maximum number of messages that one search indexes, because it has to wait for them."""
_LOGS_KNOWN = 20_000
"""For how many logs a process remembers that they are indexed."""
_log = logging.getLogger("chatbot.storage")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unindexed:
    """The messages of a log that are missing from the index.

    With `is_fresh`, they replace those in the index.
    """

    messages: list[Message]
    mark: LogMark
    is_fresh: bool


States = Mapping[SessionId, tuple[int, int]]
"""Size and time of each log of an owner."""


class LogIndex:
    """The messages of the logs below one folder in its index."""

    def __init__(self, sessions: SessionReader, file: IndexFile, cache: IndexCache) -> None:
        self._sessions, self._file, self._cache = sessions, file, cache
        self._indexed: dict[Owner, tuple[object, States]] = {}
        self._known_logs = 0

    def catch_up(self, owner: Owner, *, limit: int = _AT_ONCE) -> bool:
        """Index what is new in the logs of an owner, the newest logs first.

        Returns:
            Whether everything is indexed; otherwise the maximum was reached.
        """
        now, file = self._sessions.logs(owner), self._file.identity()
        if not now and file is None:
            return True
        of_file, before = self._indexed.get(owner, (None, {}))
        if file != of_file:
            before = {}
        elif now == before:
            return True
        left = self._caught_up(owner, now, before, limit)
        if left > 0:
            self._remember(owner, now)
        return left > 0

    def _caught_up(self, owner: Owner, now: States, before: States, limit: int) -> int:
        """Index up to this many messages; returns how many more were allowed.

        Unchanged logs are already indexed.
        """
        changed = [each for each in now if now[each] != before.get(each)]
        known = self._marks(owner, changed if before else None)
        for session_id in (before or known).keys() - now.keys():
            self._forget_if_gone(self._sessions.paths(owner, session_id))
        for session_id in sorted(changed, key=lambda each: (-now[each][1], each)):
            mark = known.get(session_id)
            if limit > 0 and (mark is None or not mark.is_of(now[session_id])):
                limit -= self._take(self._sessions.paths(owner, session_id), mark, limit)
        return limit

    def _marks(
        self, owner: Owner, wanted: Sequence[SessionId] | None
    ) -> Mapping[SessionId, LogMark]:
        """Return the marks of these logs, or of all."""
        scope = messages_scope(owner)
        if wanted is None:
            return self._file.read(lambda session: marks_of(session, scope))
        found = self._file.read(
            lambda session: [(each, mark_of(session, scope, each)) for each in wanted]
        )
        return {each: mark for each, mark in found if mark is not None}

    def _remember(self, owner: Owner, now: States) -> None:
        """Remember that these logs are indexed. Later writes change their state."""
        _, before = self._indexed.get(owner, (None, {}))
        self._known_logs += len(now) - len(before)
        if self._known_logs > _LOGS_KNOWN:
            self._indexed.clear()
            self._known_logs = len(now)
        self._indexed[owner] = (self._file.identity(), now)

    def _take(self, paths: SessionPaths, known: LogMark | None, limit: int) -> int:
        """Index what is new in a log; returns the number of messages."""
        try:
            unindexed = self._sessions.look(paths, partial(_unindexed, known, limit))
            if unindexed is None:  # another message has the number: the log is read again
                unindexed = self._sessions.look(paths, partial(_unindexed, None, limit))
        except NotFound:
            return 0  # deleted meanwhile
        except Damaged:
            return self._pass_over(paths, known)
        if unindexed is None:
            raise AssertionError("A log is read from its first message on.")
        passages = passages_of(unindexed.messages)
        for passage in passages:
            record_of(passage)  # remembered: analysed before the index is locked

        def put(session: IndexSession) -> None:
            if not self._is_still(session, paths, known, unindexed.mark.inode):
                return
            scope, index = messages_scope(paths.owner), StoredIndex(session.rows, self._cache)
            if unindexed.is_fresh:
                index.remove(scope, paths.session_id)
            elif known is not None and known.base < unindexed.mark.base:
                index.remove(scope, paths.session_id, upto=unindexed.mark.base)
            index.append(scope, paths.session_id, passages)
            put_mark(session, scope, paths.session_id, unindexed.mark)

        replaces = known is not None and (unindexed.is_fresh or known.base != unindexed.mark.base)
        self._file.write(put, erases=replaces)
        return max(len(unindexed.messages), 1)

    def _pass_over(self, paths: SessionPaths, known: LogMark | None) -> int:
        """Skip a damaged log until it changes; it has been reported."""
        scope, old = messages_scope(paths.owner), known or LogMark(0, 0, 0, -1, 0, 0, b"")
        state = self._sessions.logs(paths.owner).get(paths.session_id)
        if state is not None:
            mark = old._replace(size=state[0], mtime_ns=state[1])
            self._file.write(lambda session: put_mark(session, scope, paths.session_id, mark))
        return 1

    def _is_still(
        self, session: IndexSession, paths: SessionPaths, known: LogMark | None, inode: int
    ) -> bool:
        """Whether the file and its mark are unchanged.

        Removing messages from a log first replaces its file, then its entries in the index.
        """
        if mark_of(session, messages_scope(paths.owner), paths.session_id) != known:
            return False
        return self._sessions.inode_of(paths) == inode

    def paths(self, owner: Owner, session_id: SessionId) -> SessionPaths:
        return self._sessions.paths(owner, session_id)

    # --- what is removed ------------------------------------------------------------------

    def remove(self, paths: SessionPaths, *, upto: int | None = None) -> None:
        """Remove the messages of a session, or those up to a number, that were removed from its log."""
        scope = messages_scope(paths.owner)

        def removed(session: IndexSession) -> None:
            index = StoredIndex(session.rows, self._cache)
            index.remove(scope, paths.session_id, upto=upto)
            if upto is None:
                drop_mark(session, scope, paths.session_id)

        self._erase(paths.owner, removed)

    def clear(self, owner: Owner) -> None:
        """Remove everything of an owner who has no sessions."""

        def cleared(session: IndexSession) -> None:
            StoredIndex(session.rows, self._cache).clear(messages_scope(owner))
            drop_marks(session, messages_scope(owner))

        self._erase(owner, cleared)

    def _forget_if_gone(self, paths: SessionPaths) -> None:
        if self._sessions.inode_of(paths) is None:
            self.remove(paths)

    def _erase(self, owner: Owner, work: Callable[[IndexSession], None]) -> None:
        _, logs = self._indexed.pop(owner, (None, {}))
        self._known_logs -= len(logs)
        if not self._file.is_made():
            return
        try:
            self._file.write(work, erases=True)
        except StorageFailure as error:
            _log.warning(
                "deleted messages stay in the search index until the next search of their owner: %s",
                cause_of(error),
            )

    def forget(self) -> None:
        """Drop what this process keeps in memory."""
        self._cache.clear()


def _unindexed(known: LogMark | None, limit: int, log: LogReader) -> _Unindexed | None:
    """Return the messages of a log to index, after a known message; None if that message has
    changed.
    """
    base, last = log.header.last_seq, log.last_seq
    after = 0 if known is None else known.last_seq
    is_fresh = known is None or known.epoch != log.header.epoch or after > last
    start = base if is_fresh else max(after - 1, base)
    found = log.messages(MessageRange(limit=limit + 1, after=start, oldest=True))
    if known is not None and not is_fresh and after > base and digest_of(found[0]) != known.digest:
        return None
    messages = [each for each in found if is_fresh or each.seq > after][:limit]
    done = messages[-1].seq if messages else max(after, base) if not is_fresh else base
    digest = digest_of(messages[-1]) if messages else known.digest if known else b""
    status = log.status
    mark = LogMark(
        size=status.size if done == last else -1,
        mtime_ns=status.mtime_ns,
        inode=status.inode,
        epoch=log.header.epoch,
        base=base,
        last_seq=done,
        digest=digest,
    )
    return _Unindexed(messages=messages, mark=mark, is_fresh=is_fresh)
