"""Reads the sessions below one folder, without locks or changes."""

import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from heapq import heapify, heappop
from itertools import islice
from pathlib import Path

from chatbot.adapters.filesystem.atomic import exists, opened
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.fields_file import load_session
from chatbot.adapters.storage.json_files.log_reader import LogReader
from chatbot.adapters.storage.json_files.memory_file import load_memory
from chatbot.adapters.storage.json_files.paths import (
    FIELDS,
    LOG,
    SessionPaths,
    folder_of,
    from_ns,
    owner_of,
    paths_of,
    to_ns,
)
from chatbot.adapters.storage.json_values import Damaged, log_damage
from chatbot.domain.chat import (
    Message,
    MessageRange,
    Session,
    SessionCursor,
    SessionId,
    SessionView,
    is_session_id,
)
from chatbot.domain.errors import NotFound, StorageUnavailable
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.session_log import Select, select_none
from chatbot.domain.ports.storage import Found
from chatbot.domain.session_fields import is_in_title

is_log = re.compile(f"[0-9a-f]{{32}}{re.escape(LOG)}").fullmatch
"""Whether a file's name is that of a log."""


class LogErrors:
    """Translates a missing log, whose session does not exist, and logs the path of a damaged one.

    A class, because a `contextlib` generator costs more than many of the wrapped calls.
    """

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, FileNotFoundError):
            raise NotFound from error
        if isinstance(error, Damaged):
            log_damage(self._path, error)


class SessionReader:
    """The reading half of the session log."""

    def __init__(self, root: Path, files: Files) -> None:
        self._root, self._files = root, files

    def get(self, owner: Owner, session_id: SessionId) -> Session:
        return self.look(self._paths(owner, session_id), self._session)

    def count(self, owner: Owner) -> int:
        try:
            names = self._files.listdir(self._folder(owner))
        except NotFound:
            return 0
        return sum(is_session_id(name.removesuffix(LOG)) for name in names if name.endswith(LOG))

    def owners(self) -> Sequence[Owner]:
        return [owner for name in self._files.listdir(self._root) if (owner := owner_of(name))]

    def owners_of(self, session_id: SessionId) -> Sequence[Owner]:
        if not is_session_id(session_id):
            return []
        return [
            owner
            for owner in self.owners()
            if exists(self._files, paths_of(self._root, owner, session_id).log)
        ]

    def page(
        self, owner: Owner, *, limit: int, after: SessionCursor | None = None, title: str = ""
    ) -> Sequence[Session]:
        """Order by the files' times, then open sessions until the page is full."""
        try:
            folder = self._folder(owner)
        except NotFound:
            return []
        times, changed = self._listing(folder)
        order = [(-ns, session_id) for session_id, ns in times]
        if after is not None:
            mark = (-to_ns(after.updated_at), after.id)
            order = [each for each in order if each > mark]
        heapify(order)  # of many only some are asked for
        newest = (heappop(order) for _ in range(len(order)))
        found = (
            self._listed(SessionPaths(folder, owner, session_id), -ns, changed)
            for ns, session_id in newest
        )
        fitting = (each for each in found if each is not None and is_in_title(title, each.title))
        return list(islice(fitting, limit))

    def logs(self, owner: Owner) -> Mapping[SessionId, tuple[int, int]]:
        """Return the size and the time of each log of the owner."""
        try:
            found = self._files.listdir_by_size(self._folder(owner), LOG)
        except NotFound:
            return {}
        return {SessionId(name[: -len(LOG)]): state for name, state in found if is_log(name)}

    def inode_of(self, paths: SessionPaths) -> int | None:
        """Return the number of a session's log; None if there is no log."""
        try:
            return self._files.status_of(paths.log).inode
        except FileNotFoundError:
            return None

    def paths(self, owner: Owner, session_id: SessionId) -> SessionPaths:
        return paths_of(self._root, owner, session_id)

    def _listing(self, folder: Path) -> tuple[list[tuple[SessionId, int]], set[str]]:
        """The owner's sessions with their times, and which of them have changed fields.

        The times are in ns, but exact to the microsecond only.
        """
        times, changed = [], set()
        for name, ns in self._files.listdir_by_mtime(folder, LOG, FIELDS):
            session_id, _, suffix = name.partition(".")
            if f".{suffix}" == FIELDS:
                changed.add(session_id)
            elif is_session_id(session_id):
                times.append((SessionId(session_id), ns - ns % 1000))
        return times, changed

    def _listed(
        self, paths: SessionPaths, mtime_ns: int, changed: Container[str]
    ) -> Session | None:
        """The session with the time that it was ordered by; None if it was deleted since.

        A damaged one is listed with its id and time only: its owner may want to delete it.
        """
        time = from_ns(mtime_ns)
        see = self._session if paths.session_id in changed else LogReader.session
        try:
            return replace(self.look(paths, see), updated_at=time)
        except NotFound:
            return None
        except Damaged:
            return Session(
                id=paths.session_id, owner=paths.owner, title="", created_at=time, updated_at=time
            )

    def _session(self, log: LogReader) -> Session:
        return load_session(self._files, log)

    def read(
        self, owner: Owner, session_id: SessionId, selected: MessageRange
    ) -> Sequence[Message]:
        return self.look(self._paths(owner, session_id), lambda log: log.messages(selected))

    def load(
        self, owner: Owner, session_id: SessionId, select: Select = select_none
    ) -> SessionView:
        """Read the log once, and the memory file if there is one."""
        paths = self._paths(owner, session_id)

        def see(log: LogReader) -> SessionView:
            session = self._session(log)
            memory = load_memory(self._files, paths, epoch=session.epoch)
            messages = tuple(log.messages(select(session, memory)))
            return SessionView(session=session, memory=memory, messages=messages)

        return self.look(paths, see)

    def memory(self, owner: Owner, session_id: SessionId) -> Memory:
        paths = self._paths(owner, session_id)
        epoch = self.look(paths, lambda log: log.header.epoch)
        return load_memory(self._files, paths, epoch=epoch)

    def look(self, paths: SessionPaths, see: Callable[[LogReader], Found]) -> Found:
        """Read a log. A damaged one is read twice: a write may be in progress."""
        with LogErrors(paths.log):
            try:
                return self._look_once(paths, see)
            except Damaged:
                return self._look_once(paths, see)

    def _look_once(self, paths: SessionPaths, see: Callable[[LogReader], Found]) -> Found:
        with opened(self._files, self._files.open_to_read(paths.log)) as fd:
            return see(LogReader(self._files, fd, paths))

    def _paths(self, owner: Owner, session_id: SessionId) -> SessionPaths:
        """Return the paths of a session, whether it exists or not.

        Raises:
            NotFound: the id is invalid, or the owner has no sessions.
        """
        if not is_session_id(session_id):
            raise NotFound
        self._folder(owner)
        return paths_of(self._root, owner, session_id)

    def _folder(self, owner: Owner) -> Path:
        """Return the owner's folder.

        Raises:
            NotFound: the owner has no sessions.
            StorageUnavailable: the name belongs to something else, such as a symbolic link.
        """
        folder = folder_of(self._root, owner)
        try:
            status = self._files.status_of(folder)
        except FileNotFoundError as error:
            raise NotFound from error
        if not status.is_folder:
            raise StorageUnavailable("The store contains a file where a folder is expected.")
        return folder
