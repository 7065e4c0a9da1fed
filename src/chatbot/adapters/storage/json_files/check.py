"""The check of a data folder: every file is read, nothing is written."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from chatbot.adapters.filesystem.atomic import WORK, exists, opened, read
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.blobs import BLOBS, SHARDS, decode_blob, name_of
from chatbot.adapters.storage.json_files.counter_file import SET_ASIDE, decode_amounts
from chatbot.adapters.storage.json_files.counter_lines import COUNTERS
from chatbot.adapters.storage.json_files.counter_log import is_counter_log
from chatbot.adapters.storage.json_files.counters import is_counters_file
from chatbot.adapters.storage.json_files.fields_file import read_fields, with_fields
from chatbot.adapters.storage.json_files.index_file import IndexFile
from chatbot.adapters.storage.json_files.journal import LOCK, JsonJournal, is_journal_file
from chatbot.adapters.storage.json_files.log_reader import LogReader
from chatbot.adapters.storage.json_files.memory_file import read_memory
from chatbot.adapters.storage.json_files.paths import (
    DELETED,
    FIELDS,
    LOCKS,
    LOG,
    MEMORY,
    SessionPaths,
    owner_of,
)
from chatbot.adapters.storage.json_files.record_files import KIND_LOCK, RecordFiles
from chatbot.adapters.storage.json_files.records import RecordStore
from chatbot.adapters.storage.json_values import Damaged
from chatbot.adapters.storage.legacy_sessions import is_legacy_session
from chatbot.domain.chat import Session, SessionId, is_session_id
from chatbot.domain.errors import StorageFailure
from chatbot.domain.text import FIRST_MOMENT
from chatbot.domain.transaction import ALL_JOURNALS, KINDS


class Problem(StrEnum):
    """The kind of problem."""

    DAMAGED = "damaged"
    """Damaged; no other file is affected."""
    NEWER = "newer"
    """Written by a newer version of the service; left unchanged."""
    FOREIGN = "foreign"
    """Not a file of this store; left unchanged."""
    UNREADABLE = "unreadable"
    """The operating system denies reading it."""
    LEFTOVER = "leftover"
    """Left from an unfinished write or deletion, or bytes of a torn write."""
    EXPOSED = "exposed"
    """Readable by other accounts of the machine."""


_FIXES = {  # for the others, the detail includes it
    Problem.DAMAGED: ". Fix: restore the file from a backup, or move it away",
    Problem.NEWER: ". Fix: use the version that wrote it",
    Problem.FOREIGN: ". Fix: correct it, or move it away",
    Problem.UNREADABLE: ". Fix: make the service's account its owner",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A problem. `path` is relative to the data folder."""

    path: str
    problem: Problem
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}: {self.detail}{_FIXES.get(self.problem, '')}"


def inspect(root: Path, files: Files) -> list[Finding]:
    """Return all problems; none if the folder does not exist yet."""
    if not exists(files, root):
        return []
    return list(_Inspection(root, files).findings())


class _Inspection:
    def __init__(self, root: Path, files: Files) -> None:
        self._root, self._files = root, files

    def findings(self) -> Iterator[Finding]:
        yield from self._exposed(self._root)
        yield from self._exposed(self._root / "auth")
        for path in IndexFile(self._root, self._files).paths():
            yield from self._exposed(path)
        if exists(self._files, self._root / COUNTERS):
            yield from self._counters(self._root / COUNTERS)
        for kind in KINDS:
            yield from self._records(RecordStore(self._root, self._files).of(kind))
        for journal in ALL_JOURNALS:
            if exists(self._files, self._root / journal.name):
                yield from self._journal(self._root / journal.name)
        if exists(self._files, self._root / BLOBS):
            yield from self._blobs(self._root / BLOBS)
        memory = self._root / "memory"
        if not exists(self._files, memory):
            return
        yield from self._exposed(memory)
        for name in sorted(self._files.listdir(memory)):
            if name not in {WORK, LOCKS} and not is_legacy_session(name):
                yield from self._owner_folder(memory / name)

    def _records(self, records: RecordFiles[Any]) -> Iterator[Finding]:
        for path in records.paths():
            yield from self._exposed(path)
            yield from self._verified(path, partial(records.verify, path))
        folder = records.own_folder
        if folder is not None and exists(self._files, folder):
            yield from self._exposed(folder)
            known = {path.name for path in records.paths()} | {WORK, KIND_LOCK}
            for name in sorted(set(self._files.listdir(folder)) - known):
                yield self._finding(folder / name, Problem.FOREIGN, "not a file of records")
            yield from self._leftovers(folder / WORK)

    def _counters(self, folder: Path) -> Iterator[Finding]:
        yield from self._exposed(folder)
        for kind in sorted(self._files.listdir(folder)):
            if self._files.status_of(folder / kind).is_folder:
                yield from self._counters_of_kind(folder / kind)

    def _counters_of_kind(self, folder: Path) -> Iterator[Finding]:
        yield from self._exposed(folder)
        for name in sorted(self._files.listdir(folder)):
            if is_counters_file(name):
                read_it = _reading(self._files, folder / name, decode_amounts)
                yield from self._verified(folder / name, read_it)
            elif name != WORK and not is_counter_log(name):  # damaged lines of a log do not count
                yield self._finding(folder / name, Problem.FOREIGN, "not a file of counters")
        yield from self._leftovers(folder / WORK)

    def _blobs(self, folder: Path) -> Iterator[Finding]:
        yield from self._exposed(folder)
        for name in sorted(set(self._files.listdir(folder)) - {WORK}):
            if name not in SHARDS:
                yield self._finding(folder / name, Problem.FOREIGN, "not a folder of blobs")
                continue
            yield from self._exposed(folder / name)
            for path in sorted(folder / name / each for each in self._files.listdir(folder / name)):
                yield from self._exposed(path)
                decode = partial(decode_blob, name=name_of(path))
                yield from self._verified(path, _reading(self._files, path, decode))
        yield from self._leftovers(folder / WORK)

    def _journal(self, folder: Path) -> Iterator[Finding]:
        yield from self._exposed(folder)
        for name in sorted(set(self._files.listdir(folder)) - {WORK, LOCK}):
            if not is_journal_file(name):
                yield self._finding(folder / name, Problem.FOREIGN, "not a file of a journal")
        entries = JsonJournal(self._root, self._files).entries(folder.name)
        yield from self._verified(folder, lambda: deque(entries, maxlen=0))
        yield from self._leftovers(folder / WORK)

    def _owner_folder(self, folder: Path) -> Iterator[Finding]:
        owner = owner_of(folder.name)
        if owner is None or not self._files.status_of(folder).is_folder:
            yield self._finding(folder, Problem.FOREIGN, "not the folder of an owner")
            return
        yield from self._exposed(folder)
        for file in sorted(set(self._files.listdir(folder)) - {WORK, LOCKS}):
            yield from self._session_file(
                SessionPaths(folder, owner, SessionId(Path(file).stem)), file
            )
        yield from self._leftovers(folder / WORK)

    def _session_file(self, paths: SessionPaths, name: str) -> Iterator[Finding]:
        path = paths.folder / name
        is_ours = is_session_id(paths.session_id) and path.suffix in {LOG, MEMORY, FIELDS}
        if not is_ours:
            yield self._finding(path, Problem.FOREIGN, "not a session file")
        elif path.suffix == LOG:
            yield from self._verified(path, lambda: self._verify_log(paths))
        elif not exists(self._files, paths.log):
            yield self._finding(path, Problem.LEFTOVER, "of a session that no longer exists")
        elif path.suffix == MEMORY:
            yield from self._verified(path, lambda: self._verify_memory(paths))
        else:
            yield from self._verified(path, lambda: self._verify_fields(paths))

    def _leftovers(self, work: Path) -> Iterator[Finding]:
        for name in sorted(self._files.listdir(work) if exists(self._files, work) else []):
            yield self._finding(work / name, Problem.LEFTOVER, _leftover(name))

    def _verify_log(self, paths: SessionPaths) -> None:
        with opened(self._files, self._files.open_to_read(paths.log)) as fd:
            for line in LogReader(self._files, fd, paths).lines():
                line.message()

    def _verify_memory(self, paths: SessionPaths) -> None:
        read_memory(read(self._files, paths.memory), paths.session_id, epoch=0)

    def _verify_fields(self, paths: SessionPaths) -> None:
        raw = read(self._files, paths.fields)
        epoch = read_fields(raw, paths.session_id).number("epoch")
        fresh = Session(
            id=paths.session_id,
            owner=paths.owner,
            created_at=FIRST_MOMENT,
            updated_at=FIRST_MOMENT,
            epoch=epoch,
        )
        with_fields(fresh, raw)

    def _verified(self, path: Path, verify: Callable[[], object]) -> Iterator[Finding]:
        try:
            verify()
        except FileNotFoundError:
            return  # removed by the running service in the meantime
        except Damaged as damage:
            yield self._finding(path, Problem(damage.corruption), str(damage))
        except StorageFailure as failure:
            yield self._finding(path, Problem.UNREADABLE, str(failure.__cause__ or failure))

    def _exposed(self, path: Path) -> Iterator[Finding]:
        if exists(self._files, path) and self._files.status_of(path).is_open_to_others:
            yield self._finding(
                path, Problem.EXPOSED, "other accounts can read it. Fix: chmod go-rwx"
            )

    def _finding(self, path: Path, problem: Problem, detail: str) -> Finding:
        return Finding(path=str(path.relative_to(self._root)), problem=problem, detail=detail)


def _reading(files: Files, path: Path, parse: Callable[[bytes], object]) -> Callable[[], object]:
    return lambda: parse(read(files, path))


def _leftover(name: str) -> str:
    if name.endswith(DELETED):
        return (
            "left from a deleted session; removed when the owner next creates or deletes a session"
        )
    if ".torn-" in name:
        return "bytes of an incomplete write; kept until the session is reset or deleted, or, for a journal, until you remove them"
    if SET_ASIDE in name:
        return "damaged counters; the service has started new ones. Fix: remove the file"
    if is_session_id(name.partition(".")[0]):
        return "left from an unfinished write; removed together with its session"
    return "left from an unfinished write. Fix: stop the service and remove the file"
