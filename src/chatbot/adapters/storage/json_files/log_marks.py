"""How far the logs of sessions are indexed, in a table beside the index."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from chatbot.adapters.storage.json_files.index_session import IndexSession
from chatbot.domain.chat import Message, SessionId
from chatbot.domain.search import Scope

_DIGEST_BYTES = 8
_COLUMNS = "size, mtime_ns, inode, epoch, base, last_seq, digest"
_ALL = f"SELECT parent, {_COLUMNS} FROM read_logs WHERE scope = :scope"  # noqa: S608 # constants
_ONE = f"{_ALL} AND parent = :parent"
_PUT = """
    INSERT OR REPLACE INTO read_logs
    VALUES (:scope, :parent, :size, :mtime_ns, :inode, :epoch, :base, :last_seq, :digest)
"""
_DROP = "DELETE FROM read_logs WHERE scope = :scope"


class LogMark(NamedTuple):
    """The state of a log when it was indexed up to its message `last_seq`.

    `base` is the number of the newest message that was removed from it. If there is more to index,
    the size is negative, as no file's is.
    """

    size: int
    mtime_ns: int
    inode: int
    epoch: int
    base: int
    last_seq: int
    digest: bytes

    def is_of(self, state: tuple[int, int]) -> bool:
        """Whether a file with this size and time has not been changed since."""
        return self[:2] == state


def digest_of(message: Message) -> bytes:
    """Distinguishes a message from another one with the same number, after a rolled-back write."""
    text = f"{message.ts.isoformat()} {message.role} {message.content}"
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


def marks_of(session: IndexSession, scope: Scope) -> Mapping[SessionId, LogMark]:
    """Return the marks of the logs of an owner."""
    rows = session.read(_ALL, {"scope": scope})
    return {SessionId(parent): LogMark(*rest) for parent, *rest in rows}


def mark_of(session: IndexSession, scope: Scope, session_id: SessionId) -> LogMark | None:
    for _, *rest in session.read(_ONE, {"scope": scope, "parent": session_id}):
        return LogMark(*rest)
    return None


def put_mark(session: IndexSession, scope: Scope, session_id: SessionId, mark: LogMark) -> None:
    session.write(_PUT, {"scope": scope, "parent": session_id, **mark._asdict()})


def drop_mark(session: IndexSession, scope: Scope, session_id: SessionId) -> None:
    session.write(f"{_DROP} AND parent = :parent", {"scope": scope, "parent": session_id})


def drop_marks(session: IndexSession, scope: Scope) -> None:
    session.write(_DROP, {"scope": scope})
