"""The head of a session: its memory, in one sealed line that is replaced as a whole.

It names its epoch. A reset increments the epoch in the log, and so empties the memory in the same
instant.
"""

from chatbot.adapters.filesystem.atomic import read
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_files.places import Place
from chatbot.adapters.storage.json_files.sealed import seal, unseal
from chatbot.adapters.storage.json_values import (
    VERSION,
    Corruption,
    Damaged,
    Json,
    JsonObject,
    logging_path_of_errors,
)
from chatbot.domain.chat import SessionId
from chatbot.domain.memory import Memory


def head_line(memory: Memory, session_id: SessionId, *, epoch: int) -> bytes:
    """Returns the content of the file."""
    found: Json = {
        "version": VERSION,
        "session_id": session_id,
        "epoch": epoch,
        "memory": codec(Memory).to_json(memory),
    }
    return seal(found) + b"\n"


def load_head(files: Files, place: Place, *, epoch: int) -> Memory:
    """The memory of a session in this epoch, empty if none was ever stored."""
    with logging_path_of_errors(place.head):
        try:
            raw = read(files, place.head)
        except FileNotFoundError:
            return Memory()
        return read_head(raw, place.session_id, epoch=epoch)


def read_head(raw: bytes, session_id: SessionId, *, epoch: int) -> Memory:
    """Read the memory; a memory of another epoch counts as empty.

    Raises:
        Damaged: the file was truncated or modified, or has a newer version.
    """
    if raw[-1:] != b"\n":
        raise Damaged("head: empty or cut off")
    fields = JsonObject(unseal(raw[:-1], "head"), "head")
    fields.require_version()
    if fields.text("session_id") != session_id:
        raise Damaged("head: names another session", corruption=Corruption.FOREIGN)
    if fields.number("epoch") != epoch:
        return Memory()
    return codec(Memory).from_json(fields.nested("memory"), "head")
