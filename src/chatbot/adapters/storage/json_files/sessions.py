"""Sessions as files: one folder for each owner, in it a log and a head for each session.

`<id>.log` holds the messages, and its time is the session's `updated_at`, so that a list is
ordered without opening files. `<id>.json`, the head, holds the memory, and exists from the first
memory change on. Everything here blocks: `JsonFileStorage` calls it in a thread.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from heapq import heapify, heappop
from itertools import islice
from pathlib import Path

from chatbot.adapters.filesystem.atomic import (
    exists,
    locked,
    make_durable_folder,
    opened,
    put,
)
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.appends import SessionAppends
from chatbot.adapters.storage.json_files.head import head_line, load_head
from chatbot.adapters.storage.json_files.leases import SessionLeases
from chatbot.adapters.storage.json_files.log import Header, LogView
from chatbot.adapters.storage.json_files.places import (
    LOCKS,
    LOG,
    Place,
    folder_of,
    from_ns,
    place_of,
    to_ns,
)
from chatbot.adapters.storage.json_files.removal import delete_files, finish_deletions, remove_rest
from chatbot.adapters.storage.json_values import Damaged, logging_path_of_errors
from chatbot.domain.chat import (
    Lease,
    Message,
    MessageRange,
    Session,
    SessionCursor,
    SessionId,
    SessionView,
    TurnId,
    is_session_id,
)
from chatbot.domain.errors import Conflict, NotFound, StorageUnavailable
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.session_log import Select, SessionLog, select_none
from chatbot.domain.ports.storage import Found

_COMMIT_LOCKS = 64


class SessionFiles(SessionLog):
    """The sessions below one folder."""

    def __init__(self, root: Path, files: Files) -> None:
        self._root, self._files = root, files
        self.leases, self.appends = SessionLeases(files), SessionAppends(files)

    def open(self) -> None:
        make_durable_folder(self._files, self._root)
        make_durable_folder(self._files, self._root / LOCKS)

    def close(self) -> None:
        self.leases.give_all_back()

    def create(self, session: Session) -> None:
        folder = folder_of(self._root, session.owner)
        make_durable_folder(self._files, folder)
        place = self.place(session.owner, session.id)
        finish_deletions(self._files, place)
        header = Header(session_id=session.id, owner=session.owner, created_at=session.created_at)
        with self._committing(place):
            if exists(self._files, place.log):
                raise Conflict("The session already exists.")
            put(self._files, place.log, header.line(), mtime_ns=to_ns(session.updated_at))

    def get(self, owner: Owner, session_id: SessionId) -> Session:
        place = self.place(owner, session_id)
        return self._look(place, lambda view: session_of(view, view.mtime_ns))

    def page(
        self, owner: Owner, *, limit: int, after: SessionCursor | None = None
    ) -> Sequence[Session]:
        """Order by the files' times, then open the sessions of this page only."""
        try:
            folder = self._folder(owner)
        except NotFound:
            return []
        order = [(-ns, session_id) for session_id, ns in self._times(folder)]
        if after is not None:
            mark = (-to_ns(after.updated_at), after.id)
            order = [each for each in order if each > mark]
        heapify(order)  # of many only some are asked for
        newest = (heappop(order) for _ in range(len(order)))
        found = (self._listed(Place(folder, owner, session_id), -ns) for ns, session_id in newest)
        return list(islice((session for session in found if session is not None), limit))

    def _times(self, folder: Path) -> Iterator[tuple[SessionId, int]]:
        """The owner's sessions with their times, in ns but exact to the microsecond only."""
        for name, ns in self._files.listdir_by_mtime(folder, LOG):
            session_id = name.removesuffix(LOG)
            if is_session_id(session_id):
                yield SessionId(session_id), ns - ns % 1000

    def _listed(self, place: Place, mtime_ns: int) -> Session | None:
        """The session with the time that it was ordered by; None if it was deleted since.

        A damaged one is listed with its id and time only: its owner may want to delete it.
        """
        try:
            return self._look(place, lambda view: session_of(view, mtime_ns))
        except NotFound:
            return None
        except Damaged:
            time = from_ns(mtime_ns)
            return Session(
                id=place.session_id, owner=place.owner, title="", created_at=time, updated_at=time
            )

    def acquire(self, owner: Owner, session_id: SessionId, turn_id: TurnId) -> Lease:
        place = self.place(owner, session_id)
        self._require(place)
        lease = Lease(owner=owner, session_id=session_id, turn_id=turn_id)
        self.leases.take(lease, place)
        try:
            self._require(place)
            with _found():
                self.appends.make_sure(place)
        except NotFound:
            self.leases.give_back(lease, with_file_of=place)
            raise
        except BaseException:
            self.leases.give_back(lease)
            raise
        return lease

    def release(self, lease: Lease) -> None:
        self.leases.give_back(lease)

    def append(self, lease: Lease, message: Message) -> Message:
        with self.leases.writing(lease) as held:
            with logging_path_of_errors(held.place.log), _found():
                known, held.tail = held.tail, None
                numbered, held.tail = self.appends.append(held.place, message, known)
            return numbered

    def read(
        self, owner: Owner, session_id: SessionId, selected: MessageRange
    ) -> Sequence[Message]:
        return self._look(self.place(owner, session_id), lambda view: view.messages(selected))

    def load(
        self, owner: Owner, session_id: SessionId, select: Select = select_none
    ) -> SessionView:
        """One look at the log, and one at the memory if there is a file of it."""
        place = self.place(owner, session_id)

        def see(view: LogView) -> SessionView:
            session = session_of(view, view.mtime_ns)
            memory = load_head(self._files, place, epoch=session.epoch)
            messages = tuple(view.messages(select(session, memory)))
            return SessionView(session=session, memory=memory, messages=messages)

        return self._look(place, see)

    def memory(self, owner: Owner, session_id: SessionId) -> Memory:
        place = self.place(owner, session_id)
        if not exists(self._files, place.head):
            self._require(place)
            return Memory()
        epoch = self._look(place, lambda view: view.header.epoch)
        return load_head(self._files, place, epoch=epoch)

    def put_memory(
        self, owner: Owner, session_id: SessionId, memory: Memory, *, epoch: int
    ) -> bool:
        try:
            place = self.place(owner, session_id)
            with self._committing(place):
                if self._look(place, lambda view: view.header.epoch) != epoch:
                    return False
                if load_head(self._files, place, epoch=epoch).version != memory.version:
                    return False
                stored = replace(memory, version=memory.version + 1)
                put(self._files, place.head, head_line(stored, place.session_id, epoch=epoch))
        except NotFound:
            return False
        return True

    def reset(self, lease: Lease, *, ts: datetime) -> None:
        """Replace the log by a new header, which is the commit, then remove what was emptied."""
        with self.leases.writing(lease) as held:
            place, held.tail = held.place, None
            with self._committing(place):
                old, last_seq = self._look(place, lambda view: (view.header, view.last_seq))
                new = replace(old, epoch=old.epoch + 1, base_seq=last_seq)
                put(self._files, place.log, new.line(), mtime_ns=to_ns(ts))
                remove_rest(self._files, place)
                self._files.fsync_folder(place.folder)

    def delete(self, lease: Lease) -> None:
        with self.leases.writing(lease) as held, self._committing(held.place), _found():
            delete_files(self._files, held.place)
        self.release(lease)

    def _look(self, place: Place, see: Callable[[LogView], Found]) -> Found:
        """Returns a view of a log. A damaged one is read twice: a write may be in progress."""
        with logging_path_of_errors(place.log), _found():
            try:
                return self._look_once(place, see)
            except Damaged:
                return self._look_once(place, see)

    def _look_once(self, place: Place, see: Callable[[LogView], Found]) -> Found:
        with opened(self._files, self._files.open_to_read(place.log)) as fd:
            return see(LogView(self._files, fd, session_id=place.session_id, owner=place.owner))

    def _require(self, place: Place) -> None:
        if not exists(self._files, place.log):
            raise NotFound

    def _committing(self, place: Place) -> AbstractContextManager[None]:
        """Exclude the other short changes of this session, in any process."""
        number = int(place.session_id[:8], 16) % _COMMIT_LOCKS
        return locked(self._files, self._root / LOCKS / f"commit-{number:02d}.lock")

    def place(self, owner: Owner, session_id: SessionId) -> Place:
        """Returns where the session would be; an invalid id belongs to no one."""
        if not is_session_id(session_id):
            raise NotFound
        self._folder(owner)
        return place_of(self._root, owner, session_id)

    def _folder(self, owner: Owner) -> Path:
        """Returns the owner's folder.

        Raises:
            NotFound: the owner has no sessions.
            StorageUnavailable: the name belongs to something else, such as a symbolic link.
        """
        folder = folder_of(self._root, owner)
        with _found():
            if not self._files.status_of(folder).is_folder:
                raise StorageUnavailable("The store contains a file where a folder is expected.")
        return folder


def session_of(view: LogView, mtime_ns: int) -> Session:
    return Session(
        id=view.header.session_id,
        owner=view.header.owner,
        title=view.title(),
        created_at=view.header.created_at,
        updated_at=from_ns(mtime_ns),
        message_count=view.message_count,
        last_seq=view.last_seq,
        epoch=view.header.epoch,
    )


@contextmanager
def _found() -> Iterator[None]:
    """A file that is not there: no such session."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound from error
