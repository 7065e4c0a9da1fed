"""All data in a folder of JSON files, for copying, importing and backups.

Reading creates no file and takes no lock: a log is read as of the moment it was opened; later
messages are appended after that.
"""

import secrets
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from chatbot.adapters.filesystem.atomic import exists, make_durable_folders, put
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_files.blobs import JsonBlobs
from chatbot.adapters.storage.json_files.checksummed import encode_line
from chatbot.adapters.storage.json_files.deletion import finish_deletions, remove_rest
from chatbot.adapters.storage.json_files.journal import JsonJournal
from chatbot.adapters.storage.json_files.log_reader import LogReader, header_line
from chatbot.adapters.storage.json_files.memory_file import load_memory, memory_line
from chatbot.adapters.storage.json_files.paths import (
    SessionPaths,
    folder_name,
    folder_of,
    owner_of,
    to_ns,
)
from chatbot.adapters.storage.json_files.records import JsonRecords, RecordStore
from chatbot.adapters.storage.json_files.session_log import JsonSessionLog
from chatbot.adapters.storage.json_values import Damaged
from chatbot.domain.chat import Message, Session, SessionId, TurnId, title_of
from chatbot.domain.errors import Conflict, NotFound, StorageUnavailable
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.blobs import Blob
from chatbot.domain.ports.export import (
    Change,
    Conversation,
    ExportTarget,
    Item,
    Unreadable,
    kind_of,
    name_of_blob,
    name_of_session,
    put_entries,
    stored_entry,
    stored_record,
)
from chatbot.domain.ports.journal import JournalEntry, JournalKind
from chatbot.domain.ports.records import AnyKind
from chatbot.domain.transaction import JOURNALS, KINDS

_MAX_NAME = 255  # bytes, in every usual file system


class JsonFileExport(ExportTarget):
    """The data in the folder of a `JsonFileStorage`, which may be in use."""

    def __init__(self, root: Path, files: Files | None = None) -> None:
        self._root, self._files = root, files or Files()
        self._sessions = _WholeSessions(root / "memory", self._files)
        self._store = RecordStore(root, self._files)
        self._journal = JsonJournal(root, self._files)
        self._blobs = JsonBlobs(root, self._files)

    def __exit__(self, *exc_info: object) -> None:
        self._sessions.close()

    def items(self) -> Generator[Item | Unreadable]:
        yield from self._stored()
        yield from self._stored_blobs()
        for owner, session_id in sorted(self.session_keys(), key=_order):
            try:
                found = self._sessions.find(owner, session_id)
            except StorageUnavailable as error:
                yield Unreadable(name=name_of_session(owner, session_id), reason=str(error))
            else:
                if found is not None:  # otherwise it was deleted since it was listed
                    yield found
        for journal in JOURNALS:
            try:
                yield from self._journal.entries(journal.name)
            except StorageUnavailable as error:
                yield Unreadable(name=f"journal {journal.name}", reason=str(error))

    def _stored(self) -> Iterator[Item | Unreadable]:
        with JsonRecords(self._store) as records:
            for kind in KINDS:
                try:
                    yield from records.page(kind)
                except StorageUnavailable as error:
                    yield Unreadable(name=kind.name, reason=str(error))

    def _stored_blobs(self) -> Iterator[Item | Unreadable]:
        for name in sorted(self._blobs.all()):
            try:
                data = self._blobs.get(name)
            except StorageUnavailable as error:
                yield Unreadable(name=name_of_blob(name), reason=str(error))
            else:
                if data is not None:
                    yield Blob(name=name, data=data)

    def entries(self, journal: JournalKind) -> Iterator[JournalEntry | Unreadable]:
        return self._journal.stored(journal.name)

    def hidden_entries(self, _: JournalKind, /) -> Iterator[int]:
        """Yield nothing: the lines themselves are searched."""
        return iter(())

    def session_keys(self) -> set[tuple[Owner, SessionId]]:
        return self._sessions.keys()

    def find(self, item: Item) -> Item | None:
        try:
            if isinstance(item, Conversation):
                if len(folder_name(item.session.owner)) > _MAX_NAME:
                    raise Conflict("the id of its owner is too long for the name of a folder")
                return self._sessions.find(item.session.owner, item.session.id)
            if isinstance(item, JournalEntry):
                return stored_entry(item, self._journal)
            if isinstance(item, Blob):
                data = self._blobs.get(item.name)
                return None if data is None else Blob(name=item.name, data=data)
            with JsonRecords(self._store) as records:
                return stored_record(records, kind_of(item), item)
        except Damaged as damage:
            raise Conflict(f"The existing item is damaged ({damage}).") from damage

    def put(self, changes: Sequence[Change]) -> None:
        self._make_folders()
        puts: dict[AnyKind, list[tuple[Item, Item | None]]] = {}
        for change in changes:
            if isinstance(change.item, Conversation):
                self._sessions.put_whole(change.item, over=change.over)
            elif isinstance(change.item, Blob):
                self._blobs.put(change.item.name, change.item.data)
            elif not isinstance(change.item, JournalEntry):
                puts.setdefault(kind_of(change.item), []).append((change.item, change.over))
        with JsonRecords(self._store) as records:
            for kind, each in puts.items():
                records.put_all(kind, each)
        put_entries(changes, self._journal)

    def remove(self, owner: Owner, session_id: SessionId) -> None:
        self._sessions.remove(owner, session_id)

    def _make_folders(self) -> None:
        make_durable_folders(self._files, self._root)
        self._store.open()
        self._sessions.open()


class _WholeSessions(JsonSessionLog):
    """Reads and writes whole sessions."""

    def keys(self) -> set[tuple[Owner, SessionId]]:
        names = self._files.listdir(self._root) if exists(self._files, self._root) else []
        owners = (owner for owner in map(owner_of, names) if owner is not None)
        return {
            (owner, session_id)
            for owner in owners
            for session_id, _ in self._listing(self._folder(owner))[0]
        }

    def find(self, owner: Owner, session_id: SessionId) -> Conversation | None:
        """Read the session between two changes of its memory or fields, so that all are of one
        moment.
        """
        try:
            while True:
                memory = self.memory(owner, session_id)
                session, messages = self.look(self._paths(owner, session_id), self._read)
                now = self.get(owner, session_id).revision
                if self.memory(owner, session_id) == memory and now == session.revision:
                    return Conversation(session=session, messages=messages, memory=memory)
        except NotFound:
            return None

    def put_whole(self, new: Conversation, *, over: Item | None) -> None:
        owner, session_id = new.session.owner, new.session.id
        if over is None:
            self._put(new, over)
            return
        try:
            lease = self.acquire(owner, session_id, TurnId(secrets.token_hex(16)))
        except NotFound as error:
            raise Conflict("The session was deleted in the meantime.") from error
        try:
            self._put(new, over)
        finally:
            self.release(lease)

    def remove(self, owner: Owner, session_id: SessionId) -> None:
        try:
            with self.held(owner, session_id, TurnId(secrets.token_hex(16))) as lease:
                self.delete(lease)
        except NotFound:
            return

    def _put(self, new: Conversation, over: Item | None) -> None:
        """Write the log and the head. A new session appears with its log, which is written last.

        For an existing one the log is written first: messages without the newest memory are an
        earlier state, but memory without its messages is invalid.
        """
        folder = folder_of(self._root, new.session.owner)
        make_durable_folders(self._files, folder)
        paths = self._paths(new.session.owner, new.session.id)
        finish_deletions(self._files, paths, self.index.remove)
        with self._committing(paths):
            if self.find(paths.owner, paths.session_id) != over:
                raise Conflict("The session was changed in the meantime.")
            if over is None:
                self._put_memory(paths, new)
                self._put_log(paths, new)
            else:
                self._put_log(paths, new)
                self._files.remove(paths.fields)  # the new header has them
                if load_memory(self._files, paths, epoch=new.session.epoch) == Memory():
                    remove_rest(self._files, paths)  # left over from before a reset
                self._put_memory(paths, new)

    def _put_log(self, paths: SessionPaths, new: Conversation) -> None:
        session = new.session
        derived_title = title_of(new.messages)
        given = session if session.title != derived_title else replace(session, title="")
        lines = [
            header_line(given),
            *(encode_line(codec(Message).to_json(m)) for m in new.messages),
        ]
        put(self._files, paths.log, b"".join(lines), mtime_ns=to_ns(session.updated_at))

    def _put_memory(self, paths: SessionPaths, new: Conversation) -> None:
        if new.memory != Memory():
            line = memory_line(new.memory, paths.session_id, epoch=new.session.epoch)
            put(self._files, paths.memory, line)

    def _read(self, log: LogReader) -> tuple[Session, tuple[Message, ...]]:
        messages = [line.message() for line in log.lines()]
        return self._session(log), tuple(reversed(messages))


def _order(key: tuple[Owner, SessionId]) -> tuple[str, str, str]:
    owner, session_id = key
    return owner.kind, owner.id, session_id
