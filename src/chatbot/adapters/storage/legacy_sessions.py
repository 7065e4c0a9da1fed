"""Legacy sessions, for import: one file `session_<id>.json` each.

It contains `summary`, `structured_memory` and `messages:[{role,content,ts}]`. Ids, and messages in
their order with their times, are preserved. The origin of the memory was not recorded: it counts as
the model's, which may correct it from what the user says, and has no sources. The summary counts as
covering no message, so that none is missing from a prompt.
"""

import hashlib
import os
import stat
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chatbot.adapters.storage.json_values import Damaged, JsonObject, load
from chatbot.domain.chat import (
    Message,
    MessageRole,
    Session,
    SessionId,
    TurnId,
    is_session_id,
    title_of,
)
from chatbot.domain.errors import InvalidInput
from chatbot.domain.identity import Owner
from chatbot.domain.memory import MAX_SUMMARY_CHARS, Memory, StructuredMemory
from chatbot.domain.memory_updates import merge, update_from_json
from chatbot.domain.ports.export import Conversation, StoreExport, Unreadable
from chatbot.domain.text import replace_unstorable

_PREFIX, _SUFFIX = "session_", ".json"
_AUTHORS = {
    "user": MessageRole.USER,
    "assistant": MessageRole.ASSISTANT,
    "model": MessageRole.ASSISTANT,
}
MAX_FILE_BYTES = 256 << 20
_LONG_AGO = datetime.fromtimestamp(0, UTC)


def is_legacy_session(name: str) -> bool:
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def _session_id_of(path: Path) -> SessionId | None:
    """Returns the id in a file's name, also of a UUID with dashes or capitals; None if absent."""
    raw = path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX).replace("-", "").lower()
    return SessionId(raw) if is_session_id(raw) else None


class LegacySessions(StoreExport):
    """The files in a folder and in its `memory`, as conversations of one owner."""

    def __init__(self, folder: Path, owner: Owner) -> None:
        self._folder, self._owner = folder, owner

    def items(self) -> Generator[Conversation | Unreadable]:
        for path in self._paths():
            try:
                yield self._conversation(path, _content(path))
            except (Damaged, OSError) as error:
                yield Unreadable(name=str(path), reason=str(error).removeprefix(f"{path.name}: "))

    def session_keys(self) -> set[tuple[Owner, SessionId]]:
        return {(self._owner, session_id) for session_id in self.ids() if session_id is not None}

    def ids(self) -> list[SessionId | None]:
        """Returns the id in each file's name; None for an invalid one."""
        return [_session_id_of(path) for path in self._paths()]

    def _paths(self) -> list[Path]:
        """Returns the files in the order of their names."""
        folders = [path for path in (self._folder, self._folder / "memory") if path.is_dir()]
        return sorted(
            path for folder in folders for path in folder.iterdir() if is_legacy_session(path.name)
        )

    def _conversation(self, path: Path, raw: bytes) -> Conversation:
        session_id = _session_id_of(path)
        if session_id is None:
            raise Damaged(
                "a session id has 32 hexadecimal digits. Fix: copy the file to "
                "session_<id>.json with such an id"
            )
        fields = JsonObject(load(raw, path.name), path.name)
        messages = tuple(_messages(fields.array("messages", []), session_id, path.name))
        times = [message.ts for message in messages] or [_LONG_AGO]
        session = Session(
            id=session_id,
            owner=self._owner,
            title=title_of(messages),
            created_at=times[0],
            updated_at=times[-1],
            message_count=len(messages),
            last_seq=len(messages),
        )
        return Conversation(
            session=session, messages=messages, memory=_memory(fields, len(messages))
        )


def _content(path: Path) -> bytes:
    """The content of a regular file, or of one that a symbolic link leads to.

    Raises:
        Damaged: it is a pipe, a device, a socket or a folder, or larger than 256 MiB.
    """
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(fd, "rb") as file:  # noqa: PTH123 # a pipe would keep `Path.open` waiting
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Damaged("not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise Damaged(f"larger than {MAX_FILE_BYTES >> 20} MiB")
        return file.read(MAX_FILE_BYTES)


def _messages(found: list[object], session_id: SessionId, name: str) -> Iterator[Message]:
    """The messages, numbered from 1; an answer is of the turn of the question before it.

    A message without a time has that of the previous one.
    """
    ts, turn = _LONG_AGO, 1
    for seq, each in enumerate(found, start=1):
        fields = JsonObject(each, f"{name}: message {seq}")
        author = _AUTHORS.get(str(fields.found.get("role")))
        if author is None:
            raise fields.error("role", "user or assistant")
        ts = _time(fields) if fields.has("ts") else ts
        turn = seq if author is MessageRole.USER else turn
        yield Message(
            seq=seq,
            role=author,
            content=_text(fields, "content"),
            ts=ts,
            turn_id=_turn(session_id, turn),
        )


def _time(fields: JsonObject) -> datetime:
    """A time as text, or in seconds since 1970."""
    seconds = fields.found.get("ts")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return fields.timestamp("ts")
    try:
        return _LONG_AGO + timedelta(seconds=seconds)
    except (ValueError, OverflowError) as error:  # it is not a number, or beyond the calendar
        raise fields.error("ts", "a time") from error


def _turn(session_id: SessionId, seq: int) -> TurnId:
    """Returns the same id at each import."""
    return TurnId(hashlib.sha256(f"{session_id} {seq}".encode()).hexdigest()[:32])


def _text(fields: JsonObject, key: str) -> str:
    value = fields.found.get(key) or ""
    if not isinstance(value, str):
        raise fields.error(key, "a text")
    return replace_unstorable(value)


def _memory(fields: JsonObject, last_seq: int) -> Memory:
    summary = _text(fields, "summary").strip()[:MAX_SUMMARY_CHARS]
    structured = _structured(fields)
    if not summary and structured == StructuredMemory():
        return Memory()
    extracted_to = last_seq if structured != StructuredMemory() else 0
    return Memory(summary=summary, structured=structured, extracted_to=extracted_to, version=1)


def _structured(fields: JsonObject) -> StructuredMemory:
    try:
        update = update_from_json(fields.found.get("structured_memory") or {})
    except InvalidInput as error:
        raise fields.error("structured_memory", "an object") from error
    many = max(len(update.facts), len(update.todos), 1)
    return merge(StructuredMemory(), update, sources=(), said=(), max_items=many)
