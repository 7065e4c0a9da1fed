"""The session log as files: a folder for each owner, in it up to three files per session.

`<id>.log` holds the messages, and its time is the session's `updated_at`, so that sessions are
listed without opening files. `<id>.json` holds the memory, and exists from the first change of the
memory on; `<id>.fields` holds the fields that people have changed. Everything here except the steps
of a turn blocks: `JsonFileStorage` calls it in a thread.
"""

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from chatbot.adapters.filesystem.atomic import exists, locked, make_durable_folder, put
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.search.caches import IndexCache
from chatbot.adapters.storage.json_files.deletion import (
    delete_files,
    finish_deletions,
    remove_leftovers,
    remove_rest,
    remove_work,
)
from chatbot.adapters.storage.json_files.fields_file import fields_line, may_be_held
from chatbot.adapters.storage.json_files.index_file import IndexFile
from chatbot.adapters.storage.json_files.leases import SessionLeases
from chatbot.adapters.storage.json_files.log_index import LogIndex
from chatbot.adapters.storage.json_files.log_reader import LogReader, header_line, message_line
from chatbot.adapters.storage.json_files.log_writer import LogWriter
from chatbot.adapters.storage.json_files.memory_file import load_memory, memory_line
from chatbot.adapters.storage.json_files.paths import (
    LOCKS,
    SessionPaths,
    folder_of,
    to_ns,
)
from chatbot.adapters.storage.json_files.session_reader import LogErrors, SessionReader
from chatbot.adapters.storage.json_files.steps import Steps, run
from chatbot.adapters.storage.json_values import Damaged
from chatbot.domain.chat import (
    Lease,
    Message,
    MessageRange,
    Question,
    Session,
    SessionId,
    TurnContext,
    TurnId,
)
from chatbot.domain.errors import Conflict, NotFound, SessionHeld
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.session_log import SessionLog
from chatbot.domain.session_fields import require_no_hold

_COMMIT_LOCKS = 64


class JsonSessionLog(SessionReader, SessionLog):
    """The sessions below one folder."""

    def __init__(self, root: Path, files: Files) -> None:
        super().__init__(root, files)
        self.index_file, self.index_cache = IndexFile(root.parent, files), IndexCache()
        self.index = LogIndex(self, self.index_file, self.index_cache)
        self._leases, self._writer = SessionLeases(files), LogWriter(files)

    def open(self) -> None:
        make_durable_folder(self._files, self._root)
        make_durable_folder(self._files, self._root / LOCKS)

    def close(self) -> None:
        self.index_file.close()
        self._leases.release_all()

    def create(self, session: Session) -> None:
        folder = folder_of(self._root, session.owner)
        make_durable_folder(self._files, folder)
        paths = self._paths(session.owner, session.id)
        finish_deletions(self._files, paths, self.index.remove)
        with self._committing(paths):
            if exists(self._files, paths.log):
                raise Conflict("The session already exists.")
            mtime_ns = to_ns(session.updated_at)
            self._writer.replace(paths, header_line(session), mtime_ns=mtime_ns)

    # --- turns ---------------------------------------------------------------------------

    def store_question(self, question: Question) -> TurnContext:
        return run(self.question_steps(question))

    def store_answer(self, lease: Lease, answer: Message) -> None:
        run(self.answer_steps(lease, answer))

    def question_steps(self, question: Question) -> Steps[TurnContext]:
        """Begin a turn: see `SessionLog.store_question`."""
        lease = question.lease
        yield from self._acquire(lease)
        try:
            with self._leases.writing(lease) as held, LogErrors(held.paths.log):
                reader = self._writer.read(held)
                memory = load_memory(self._files, held.paths, epoch=reader.header.epoch)
                history = reader.messages(question.history(memory))
                session = self._session(reader)
                for message in question.messages_after(history):
                    session, _ = session.appended(message)
                    history.append((yield from self._writer.append(held, message)))
        except BaseException:
            self.release(lease)
            raise
        history = history[-question.history_limit :]
        return TurnContext(lease=lease, session=session, memory=memory, history=tuple(history))

    def answer_steps(self, lease: Lease, answer: Message) -> Steps[None]:
        """End a turn: see `SessionLog.store_answer`."""
        try:
            yield from self._append(lease, answer)
        finally:
            self.release(lease)

    def acquire(self, owner: Owner, session_id: SessionId, turn_id: TurnId) -> Lease:
        lease = Lease(owner=owner, session_id=session_id, turn_id=turn_id)
        run(self._acquire(lease))
        return lease

    def _acquire(self, lease: Lease) -> Steps[None]:
        paths = self._paths(lease.owner, lease.session_id)
        if not exists(self._files, paths.log):
            raise NotFound
        held = self._leases.acquire(lease, paths)
        try:
            yield from self._writer.open(held)
        except FileNotFoundError as error:  # it was deleted in the meantime
            self._leases.release(lease, with_lock_file=True)
            raise NotFound from error
        except BaseException:
            self.release(lease)
            raise

    def release(self, lease: Lease) -> None:
        self._leases.release(lease)

    def append(self, lease: Lease, message: Message) -> Message:
        return run(self._append(lease, message))

    def _append(self, lease: Lease, message: Message) -> Steps[Message]:
        with self._leases.writing(lease) as held, LogErrors(held.paths.log):
            return (yield from self._writer.append(held, message))

    # --- changes under the session's short-term lock -------------------------------------------

    def put_memory(
        self, owner: Owner, session_id: SessionId, memory: Memory, *, epoch: int
    ) -> bool:
        try:
            paths = self._paths(owner, session_id)
            with self._committing(paths):
                if self.look(paths, lambda log: log.header.epoch) != epoch:
                    return False
                if load_memory(self._files, paths, epoch=epoch).version != memory.version:
                    return False
                stored = replace(memory, version=memory.version + 1)
                put(self._files, paths.memory, memory_line(stored, session_id, epoch=epoch))
        except NotFound:
            return False
        return True

    def update(self, lease: Lease, session: Session) -> Session:
        with self._leases.writing(lease) as held, self._committing(held.paths):
            paths = held.paths
            now, derived_title = self.look(
                paths, lambda log: (self._session(log), log.session().title)
            )
            updated = now.updated(session)
            put(self._files, paths.fields, fields_line(updated, derived_title=derived_title))
        return updated

    def trim(self, lease: Lease, upto: int) -> None:
        """Replace the log by one with the later messages, which is the commit."""
        with self._leases.writing(lease) as held, self._committing(held.paths):
            paths = held.paths
            now, derived_title, left = self.look(paths, partial(self._after, upto))
            require_no_hold(now.hold)
            upto = min(upto, now.last_seq)
            if upto <= now.reset_at:
                return
            title = "" if now.title == derived_title else now.title
            trimmed = replace(now.trimmed(upto, title), last_seq=upto, message_count=0)
            lines = [header_line(trimmed), *map(message_line, left)]
            held.close_log(self._files)
            self._writer.replace(paths, b"".join(lines), mtime_ns=to_ns(now.updated_at))
            self._files.remove(paths.fields)  # the new header has them
            remove_work(self._files, paths)
            self.index.remove(paths, upto=upto)

    def _after(self, upto: int, log: LogReader) -> tuple[Session, str, list[Message]]:
        """The session, the title that its messages give it, and the later ones."""
        session = self._session(log)
        left = log.messages(MessageRange(limit=max(session.last_seq - upto, 0), after=upto))
        return session, log.session().title if not log.header.title else "", left

    def reset(self, lease: Lease, *, ts: datetime) -> None:
        """Replace the log by a new header, which is the commit, then remove what was emptied."""
        with self._leases.writing(lease) as held, self._committing(held.paths):
            paths = held.paths
            now = self.look(paths, self._session)
            require_no_hold(now.hold)
            session = now.was_reset(ts)
            held.close_log(self._files)
            self._writer.replace(paths, header_line(session), mtime_ns=to_ns(ts))
            remove_rest(self._files, paths)
            self._files.fsync_folder(paths.folder)
            self.index.remove(paths)

    def delete(self, lease: Lease) -> None:
        with self._leases.writing(lease) as held, self._committing(held.paths):
            self._require_no_hold(held.paths)
            held.close_log(self._files)
            with LogErrors(held.paths.log):
                delete_files(self._files, held.paths, self.index.remove)
        self.release(lease)

    def clear(self, owner: Owner) -> None:
        folder = folder_of(self._root, owner)
        if exists(self._files, folder) and not self._listing(folder)[0]:
            remove_leftovers(self._files, folder)
            self.index.clear(owner)

    def _require_no_hold(self, paths: SessionPaths) -> None:
        try:
            require_no_hold(self.look(paths, self._session).hold)
        except Damaged:
            if may_be_held(self._files, paths):
                raise SessionHeld from None

    def _committing(self, paths: SessionPaths) -> AbstractContextManager[None]:
        """Exclude other short changes of this session, in any process."""
        number = int(paths.session_id[:8], 16) % _COMMIT_LOCKS
        return locked(self._files, self._root / LOCKS / f"commit-{number:02d}.lock")
