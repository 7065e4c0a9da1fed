"""The fields of a session that people have changed: a file with one checksummed line.

It exists only after the first change, is replaced as a whole, and records the epoch of the log that
it belongs to. The header of a log that was copied has such fields, too: the higher revision counts.
"""

from chatbot.adapters.filesystem.atomic import read
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_files.checksummed import decode_file, encode_line
from chatbot.adapters.storage.json_files.log_reader import LogReader
from chatbot.adapters.storage.json_files.paths import SessionPaths
from chatbot.adapters.storage.json_values import (
    VERSION,
    Corruption,
    Damaged,
    Json,
    JsonObject,
    logging_path_of_errors,
)
from chatbot.domain.chat import Session, SessionId

_FROM_LOG = {"id", "owner", "created_at", "updated_at", "message_count", "last_seq", "epoch"}


def fields_line(session: Session, *, derived_title: str) -> bytes:
    """Return the content of the file; a title that follows from the messages is not in it."""
    stored = codec(Session).to_json(session)
    own = {key: value for key, value in stored.items() if key not in _FROM_LOG}
    if session.title == derived_title:
        del own["title"]
    head = {"version": VERSION, "session_id": session.id, "epoch": session.epoch}
    return encode_line({**head, "fields": own})


def load_session(files: Files, log: LogReader) -> Session:
    """Return the session of a log, with the fields that were changed since it was created."""
    session = log.session()
    try:
        raw = read(files, log.paths.fields)
    except FileNotFoundError:
        return session
    with logging_path_of_errors(log.paths.fields):
        return with_fields(session, raw)


def with_fields(session: Session, raw: bytes) -> Session:
    """Return the session with the fields of the file, unless they are of another epoch or older.

    Raises:
        Damaged: the file was truncated or modified, or has a newer version.
    """
    stored = read_fields(raw, session.id)
    changed = JsonObject(stored.nested("fields"), "fields")
    if stored.number("epoch") != session.epoch or changed.number("revision") <= session.revision:
        return session
    return codec(Session).from_json(_merged(session, changed.found), "fields")


def read_fields(raw: bytes, session_id: SessionId) -> JsonObject:
    """Read the file.

    Raises:
        Damaged: as above.
    """
    stored = decode_file(raw, "fields")
    if stored.text("session_id") != session_id:
        raise Damaged("fields: names another session", corruption=Corruption.FOREIGN)
    return stored


def may_be_held(files: Files, paths: SessionPaths) -> bool:
    """Whether the fields of a session whose log is damaged keep it from being deleted."""
    try:
        raw = read(files, paths.fields)
    except FileNotFoundError:
        return False
    with logging_path_of_errors(paths.fields):
        fields = read_fields(raw, paths.session_id).nested("fields")
    return fields.get("hold") is not None


def _merged(session: Session, changed: Json) -> Json:
    stored = codec(Session).to_json(session)
    of_log = {key: value for key, value in stored.items() if key in _FROM_LOG}
    return {**of_log, "title": session.title, **changed}
