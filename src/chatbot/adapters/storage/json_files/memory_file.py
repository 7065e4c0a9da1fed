"""The memory of a session: a file with one checksummed line that is replaced as a whole.

It records its epoch. A reset increments the epoch in the log, and thereby empties the memory in the
same instant.
"""

from chatbot.adapters.filesystem.atomic import read
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_files.checksummed import decode_file, encode_line
from chatbot.adapters.storage.json_files.paths import SessionPaths
from chatbot.adapters.storage.json_values import (
    VERSION,
    Corruption,
    Damaged,
    logging_path_of_errors,
)
from chatbot.domain.chat import SessionId
from chatbot.domain.memory import Memory


def memory_line(memory: Memory, session_id: SessionId, *, epoch: int) -> bytes:
    """Return the content of the file."""
    head = {"version": VERSION, "session_id": session_id, "epoch": epoch}
    return encode_line({**head, "memory": codec(Memory).to_json(memory)})


def load_memory(files: Files, paths: SessionPaths, *, epoch: int) -> Memory:
    """Return the memory of a session in this epoch; empty if none was ever stored."""
    try:
        raw = read(files, paths.memory)
    except FileNotFoundError:
        return Memory()
    with logging_path_of_errors(paths.memory):
        return read_memory(raw, paths.session_id, epoch=epoch)


def read_memory(raw: bytes, session_id: SessionId, *, epoch: int) -> Memory:
    """Read the memory; a memory of another epoch counts as empty.

    Raises:
        Damaged: the file was truncated or modified, or has a newer version.
    """
    stored = decode_file(raw, "memory")
    if stored.text("session_id") != session_id:
        raise Damaged("memory: names another session", corruption=Corruption.FOREIGN)
    if stored.number("epoch") != epoch:
        return Memory()
    return codec(Memory).from_json(stored.nested("memory"), "memory")
