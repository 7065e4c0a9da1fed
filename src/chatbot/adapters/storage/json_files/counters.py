"""Counters: for each kind, month of expiry and checksum of the name a file `<kind>/2026-03.0f.jsonl`.

The checksum is that of the name up to the last part, so that the counters that a turn changes together,
whose names differ in the last part only, are in one file. Amounts that expired last month are
removed with their files.
Kinds to which something is added at every turn have logs instead: see `counter_log`.
"""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Self

from chatbot.adapters.filesystem.atomic import (
    exists,
    locked,
    make_durable_folder,
    opened,
    remove_unfinished,
)
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.counter_file import CounterFile
from chatbot.adapters.storage.json_files.counter_log import CounterLogs
from chatbot.domain.ports.counters import (
    LOGGED_KINDS,
    PART_SEPARATOR,
    Addition,
    Bill,
    Count,
    CounterKey,
    Counters,
    Counts,
    names_with_part,
)

MAX_NAMES = 1024
"""The maximum in one file of a bounded kind.

Filling all files takes 36 failed log-ins a second for 15 minutes.
"""

_FILES = 32
_NAME = re.compile(r"\d{4}-\d{2}\.[01][0-9a-f]\.jsonl")
_OLD_NAME = re.compile(r"[0-9a-f]{2}\.json")
"""Of earlier versions: log-in attempts, which count for 15 minutes."""
_LOCK_WAIT_S = 1.0
"""The lock is held for about 20 ms: a suspended process that holds it must not block the other
threads.
"""


def is_counters_file(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


class JsonCounters(Counters):
    """The files in a folder `counters/<kind>`. One lock for each kind, held for milliseconds.

    `known` are the files that this process has in memory, each used with the lock of its kind.
    """

    def __init__(
        self, root: Path, files: Files, *, known: dict[Path, CounterFile] | None = None
    ) -> None:
        self._root, self._files = root, files
        self._is_locked = known is not None
        self._known: dict[Path, CounterFile] = {} if known is None else known
        self._logs = CounterLogs(root, files, self._locked)

    def open(self) -> None:
        """Create the folder, and remove the files of earlier versions."""
        make_durable_folder(self._files, self._root)
        for kind in self._kinds():
            for name in filter(_OLD_NAME.fullmatch, self._names(kind)):
                self._files.remove(self._root / kind / name)

    def try_add(self, additions: Sequence[Addition], *, now: datetime) -> Sequence[Addition] | None:
        """Add as `add`, unless that had to wait for another process: then return None."""
        with self._if_free(additions) as counters:
            return None if counters is None else counters.add(additions, now=now)

    def try_settle(self, bill: Bill) -> bool:
        """Settle a bill, unless that had to wait for another process; returns whether it was done."""
        with self._if_free((*bill.reserved, *bill.used)) as counters:
            if counters is not None:
                counters.settle(bill.reserved, bill.used, now=bill.at)
            return counters is not None

    def settle(
        self, reserved: Sequence[Addition], used: Sequence[Addition], *, now: datetime
    ) -> None:
        with self.exclusive([addition.key for addition in (*reserved, *used)]):
            changed = _Opened(self._opened)
            for each in reserved:
                if each.key.kind in LOGGED_KINDS:
                    self._logs.subtract(each)
                else:
                    table = changed[self._path(each)].table
                    table.subtract(each.key.name, each.expires_at, each.amount)
            for each in (each for each in used if each.key.kind not in LOGGED_KINDS):
                table = changed[self._path(each)].table
                table.add(each.key.name, each.expires_at, each.amount, now=now)
            self._write(changed.values(), now)
            self._logs.append([each for each in used if each.key.kind in LOGGED_KINDS])

    def read(self, keys: Sequence[CounterKey], *, now: datetime) -> Counts:
        with self.exclusive(keys):
            files = self._files_of(keys)
            return {
                key: self._logs.read(key, now)
                if key.kind in LOGGED_KINDS
                else _read(files[key], key.name, now)
                for key in keys
            }

    def scan(self, kind: str, *prefixes: str, now: datetime) -> Mapping[str, int]:
        if kind in LOGGED_KINDS:
            return self._logs.scan(kind, prefixes, now)
        totals = Counter[str]()
        for path in self._paths(kind):
            with self._locked(kind):  # not for all of them: others wait for it
                totals.update(self._rarely_opened(path).table.totals(prefixes, now))
        return totals

    def clear(self, keys: Sequence[CounterKey]) -> None:
        with self.exclusive(keys):
            for key, files in self._files_of(keys).items():
                if key.kind in LOGGED_KINDS:
                    self._logs.clear(key)
                for file in files:
                    file.table.clear(key.name)
                    file.write()

    def erase(self, part: str) -> Mapping[str, int]:
        names_with_part((), part)
        return {kind: count for kind in self._kinds() if (count := self._erase(kind, part))}

    def _erase(self, kind: str, part: str) -> int:
        names = set[str]()
        for path in self._paths(kind):
            with self._locked(kind):
                names.update(self._rarely_opened(path).erase(part))
        for path in self._logs.paths(kind):
            with self._locked(kind):
                names.update(self._logs.erase(path, part))
        with self._locked(kind):
            remove_unfinished(self._files, self._root / kind)  # and those that were moved aside
        return len(names)

    def exclusive(self, keys: Sequence[CounterKey]) -> AbstractContextManager[Self]:
        return nullcontext(self) if self._is_locked else self._locking(keys)

    @contextmanager
    def _locking(self, keys: Sequence[CounterKey]) -> Iterator[Self]:
        with ExitStack() as held:
            for kind in sorted({key.kind for key in keys}):
                held.enter_context(self._locked(kind))
            yield self._with_locks()

    @contextmanager
    def _if_free(self, additions: Iterable[Addition]) -> Iterator[Self | None]:
        with ExitStack() as held:
            for kind in sorted({addition.key.kind for addition in additions}):
                lock = self._files.open_lock(self._lock(kind))
                held.enter_context(opened(self._files, lock))
                if not self._files.try_lock(lock):
                    yield None
                    return
                held.callback(self._files.unlock, lock)
            yield self._with_locks()

    def _with_locks(self) -> Self:
        return type(self)(self._root, self._files, known=self._known)

    def _locked(self, kind: str) -> AbstractContextManager[None]:
        if self._is_locked:
            return nullcontext()
        return locked(self._files, self._lock(kind), wait_s=_LOCK_WAIT_S)

    def _lock(self, kind: str) -> Path:
        return self._root / f".{kind}.lock"

    def _opened(self, path: Path) -> CounterFile:
        """Returns the current state of the file; its kind's lock is held."""
        if path not in self._known:
            self._known[path] = CounterFile(path, self._files, max_names=MAX_NAMES)
        return self._rarely_opened(path)

    def _rarely_opened(self, path: Path) -> CounterFile:
        """The same, but it stays in memory only if it is there already."""
        known = self._known.get(path)
        file = known or CounterFile(path, self._files, max_names=MAX_NAMES)
        file.refresh()
        return file

    def _files_of(self, keys: Sequence[CounterKey]) -> Mapping[CounterKey, list[CounterFile]]:
        names = {kind: self._names(kind) for kind in {key.kind for key in keys}}
        files, found = _Opened(self._opened), dict[CounterKey, list[CounterFile]]()
        for key in keys:
            folder, ending = self._root / key.kind, _ending(key.name)
            paths = [folder / name for name in names[key.kind] if name.endswith(ending)]
            found[key] = [files[path] for path in paths]
        return found

    def _write(self, files: Iterable[CounterFile], now: datetime) -> None:
        for file in files:
            if not exists(self._files, file.path):
                self._remove_expired(file.path.parent, _month(now))
            file.write(now)

    def _remove_expired(self, folder: Path, month: str) -> None:
        """Remove the files of past months when a file of a new month is created."""
        for path in self._paths(folder.name):
            if path.name < month:
                self._files.remove(path)
                self._known.pop(path, None)

    def _kinds(self) -> list[str]:
        names = sorted(self._files.listdir(self._root))
        return [name for name in names if self._files.status_of(self._root / name).is_folder]

    def _names(self, kind: str) -> list[str]:
        try:
            return self._files.listdir(self._root / kind)
        except FileNotFoundError:
            return []

    def _paths(self, kind: str) -> list[Path]:
        names = sorted(self._names(kind))
        return [self._root / kind / name for name in names if is_counters_file(name)]

    def _path(self, addition: Addition) -> Path:
        name = f"{_month(addition.expires_at)}{_ending(addition.key.name)}"
        return self._root / addition.key.kind / name


class _Opened(dict[Path, CounterFile]):
    """The files of one call, each read once."""

    def __init__(self, opened: Callable[[Path], CounterFile]) -> None:
        super().__init__()
        self._opened = opened

    def __missing__(self, path: Path) -> CounterFile:
        file = self[path] = self._opened(path)
        return file


def _read(files: Iterable[CounterFile], name: str, now: datetime) -> Sequence[Count]:
    return sorted(count for file in files for count in file.table.read(name, now))


def _ending(name: str) -> str:
    *most, last = name.split(PART_SEPARATOR)
    number = zlib.crc32((PART_SEPARATOR.join(most) or last).encode()) % _FILES
    return f".{number:02x}.jsonl"


@lru_cache
def _month(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m")
