"""An in-memory file system that loses unsynced data at a power loss.

What is synced is on the disk. Of the rest a loss of power leaves any part:

- Contents: each sector of 512 bytes as it was synced or as any write since left it, at any of the
  lengths since; where the length is there and the data is not, zeros.
- Times: any since the sync. A sync saves the time if it saves a new length, as `fdatasync` does.
- Names: each change of a name happened or not, whatever became of those before it. A rename is one
  change. Syncing a folder saves the changes of names in it. A journal, as ext4, xfs, btrfs and NTFS
  have one, keeps them in order, and whatever is synced saves all of them.
"""

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress, count
from pathlib import Path
from typing import Self

from chatbot.adapters.filesystem.file_status import Status
from chatbot.adapters.filesystem.files import Files
from chatbot.domain.errors import StorageUnavailable

SECTOR = 512
START_NS = 1_800_000_000_000_000_000
NO_STEPS = {"now_ns", "enable_kernel_fsync", "disable_kernel_fsync", "kernel_fsync"}
"""Methods of `Files` that are not file operations; in memory, fsync always uses a thread."""

FOLDER, FILE = 0o40700, 0o100600

Tree = dict[str, tuple[bytes, int] | None]
"""The content of a folder by path with `/`: a file's bytes and time, or a folder."""


@dataclass(eq=False, slots=True)
class Node:
    """A file or folder. `data` and `entries` are visible to processes, `disk` is what is synced."""

    number: int
    mode: int
    mtime_ns: int
    data: bytes = b""
    disk: bytes = b""
    disk_mtime_ns: int = 0
    since: list[bytes] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    entries: "dict[str, Node]" = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    links: int = 1
    holder: int | None = None

    @property
    def is_folder(self) -> bool:
        return self.mode == FOLDER

    def become(self, data: bytes) -> None:
        self.lost -= changed_sectors(self.data, data)
        self.data = data
        self.since.append(data)

    def stamp(self, mtime_ns: int) -> None:
        self.mtime_ns = mtime_ns
        self.times.append(mtime_ns)

    def sync(self) -> None:
        if len(self.data) != len(self.disk):
            self.disk_mtime_ns, self.times = self.mtime_ns, []
        kept = [self.disk if n in self.lost else self.data for n in range(_sectors(self.data))]
        disk = b"".join(sector(data, n) for n, data in enumerate(kept))
        self.disk, self.since = disk[: len(self.data)], []

    def fail_to_sync(self) -> None:
        """Fail like Linux: unwritten data is marked clean although it was never written.

        See https://wiki.postgresql.org/wiki/Fsync_Errors.
        """
        self.lost |= changed_sectors(self.disk, self.data)


def _sectors(data: bytes) -> int:
    return -(-len(data) // SECTOR)


def sector(data: bytes, number: int) -> bytes:
    """The 512 bytes of a sector, padded with zeros beyond the end of the file."""
    return data[number * SECTOR : (number + 1) * SECTOR].ljust(SECTOR, b"\0")


def changed_sectors(old: bytes, new: bytes) -> set[int]:
    numbers = range(max(_sectors(old), _sectors(new)))
    return {n for n in numbers if sector(old, n) != sector(new, n)}


@dataclass(slots=True)
class Change:
    """An atomic change of names. `edits`: folder, name, and the new target of the name."""

    edits: tuple[tuple[Node, str, Node | None], ...]
    is_synced: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """A power loss: the probabilities that it keeps a rename and the newest data of a sector.

    Of the newest changes of names that are not synced, `newest` says which are kept.
    """

    rng: random.Random
    names: float
    sectors: float
    newest: tuple[bool, ...] = ()

    def kept(self, changes: Sequence[Change]) -> list[bool]:
        unsure = [n for n, change in enumerate(changes) if not change.is_synced]
        kept = [change.is_synced or self.rng.random() < self.names for change in changes]
        for number, is_kept in zip(reversed(unsure), reversed(self.newest), strict=False):
            kept[number] = is_kept
        return kept

    def file(self, node: Node) -> tuple[bytes, int]:
        states = [node.disk, *node.since]
        length = len(self.rng.choice(states))
        sectors = (sector(self._state(states), n) for n in range(-(-length // SECTOR)))
        return b"".join(sectors)[:length], self.rng.choice([node.disk_mtime_ns, *node.times])

    def _state(self, states: list[bytes]) -> bytes:
        return states[-1] if self.rng.random() < self.sectors else self.rng.choice(states)


class VolatileFiles(Files):
    """Files in memory. `on_change` is called after each change of cached or synced data."""

    def __init__(self, *, has_journal: bool = False) -> None:
        self._numbers, self._ticks = count(1), count(START_NS, 1_000_000_000)
        self._top = self._new(FOLDER)
        self._changes: list[Change] = []
        self._fds: dict[int, Node] = {}
        self._has_journal = has_journal
        self.on_change: Callable[[], object] = lambda: None

    # --- what a loss of power leaves -----------------------------------------------------

    def after(self, loss: Loss) -> Tree:
        """The tree after this power loss."""
        names: dict[Node, dict[str, Node]] = {}
        for change in self._kept(loss):
            for folder, name, node in change.edits:
                entries = names.setdefault(folder, {})
                entries.pop(name, None)
                if node is not None:
                    entries[name] = node
        return dict(_walk(self._top, lambda node: names.get(node, {}), loss.file))

    def _kept(self, loss: Loss) -> Iterator[Change]:
        kept = loss.kept(self._changes)
        if self._has_journal:
            kept = [all(kept[: number + 1]) for number in range(len(kept))]
        return compress(self._changes, kept)

    def tree(self) -> Tree:
        """The current tree."""
        return dict(_walk(self._top, lambda n: n.entries, lambda n: (n.data, n.mtime_ns)))

    @classmethod
    def holding(cls, tree: Tree, *, has_journal: bool = False) -> Self:
        """A file system with this tree, completely synced."""
        files = cls(has_journal=has_journal)
        for path, found in sorted(tree.items()):
            where = Path("/").absolute() / path
            if found is None:
                files.mkdir(where)
            else:
                files._put(where, *found)
        files._save_names(files._changes)
        return files

    def _put(self, path: Path, data: bytes, mtime_ns: int) -> None:
        node = self._add(path, FILE)
        node.data = node.disk = data
        node.mtime_ns = node.disk_mtime_ns = mtime_ns

    def forget_process(self) -> None:
        """End a process: close its files and release its locks."""
        for fd in list(self._fds):
            self._unlock(fd)
        self._fds.clear()

    # --- names ---------------------------------------------------------------------------

    def _new(self, mode: int) -> Node:
        return Node(next(self._numbers), mode, self.now_ns())

    def _key(self, name: str) -> str:
        return name

    def _find(self, path: Path) -> Node:
        node = self._top
        for name in path.absolute().parts[1:]:
            if not node.is_folder:
                raise StorageUnavailable(f"{path}: not a folder")
            try:
                node = node.entries[self._key(name)]
            except KeyError as error:
                raise FileNotFoundError(str(path)) from error
        return node

    def _change(self, *edits: tuple[Path, Node | None]) -> None:
        """Change names atomically."""
        found = [(self._find(path.parent), self._key(path.name), node) for path, node in edits]
        for folder, name, node in found:
            old = folder.entries.pop(name, None)
            if old is not None and node is not old:
                old.links -= 1
            if node is not None:
                folder.entries[name] = node
                node.links = 1
        self._changes.append(Change(tuple(found)))
        self.on_change()

    def _add(self, path: Path, mode: int) -> Node:
        node = self._new(mode)
        self._change((path, node))
        return node

    def _opened(self, node: Node) -> int:
        if node.is_folder:
            raise StorageUnavailable("a folder")
        fd = next(self._numbers)
        self._fds[fd] = node
        return fd

    # --- the steps of `Files` ------------------------------------------------------------

    def open_to_read(self, path: Path) -> int:
        return self._opened(self._find(path))

    def open_to_append(self, path: Path) -> int:
        return self._opened(self._find(path))

    def create(self, path: Path) -> int:
        try:
            self._find(path)
        except FileNotFoundError:
            return self._opened(self._add(path, FILE))
        raise StorageUnavailable("there already")

    def open_lock(self, path: Path) -> int:
        try:
            return self._opened(self._find(path))
        except FileNotFoundError:
            return self._opened(self._add(path, FILE))

    def close(self, fd: int) -> None:
        self._unlock(fd)
        del self._fds[fd]

    @property
    def open_count(self) -> int:
        return len(self._fds)

    def read_at(self, fd: int, length: int, offset: int) -> bytes:
        return self._node(fd).data[offset : offset + length]

    def write(self, fd: int, data: bytes) -> int:
        self._become(fd, self._node(fd).data + data)
        return len(data)

    def truncate(self, fd: int, length: int) -> None:
        self._become(fd, self._node(fd).data[:length].ljust(length, b"\0"))

    def _become(self, fd: int, data: bytes) -> None:
        node = self._node(fd)
        node.become(data)
        node.stamp(self.now_ns())
        self.on_change()

    def _node(self, fd: int) -> Node:
        try:
            return self._fds[fd]
        except KeyError as error:
            raise StorageUnavailable("not open") from error

    def set_mtime(self, fd: int, path: Path, mtime_ns: int) -> None:
        self._node(fd).stamp(mtime_ns)
        self.on_change()

    def fsync(self, fd: int) -> None:
        self._node(fd).sync()
        self._save_names(self._changes if self._has_journal else [])
        self.on_change()

    def enable_kernel_fsync(self) -> None:
        """No-op: the kernel cannot sync in-memory files, so a thread does."""

    def fail_to_sync(self, fd: int) -> None:
        self._node(fd).fail_to_sync()

    def fsync_folder(self, folder: Path) -> None:
        node = self._find(folder)
        inside = (c for c in self._changes if any(where is node for where, _, _ in c.edits))
        self._save_names(self._changes if self._has_journal else inside)
        self.on_change()

    def _save_names(self, changes: Iterable[Change]) -> None:
        for change in changes:
            change.is_synced = True

    def replace(self, source: Path, target: Path) -> None:
        self._change((source, None), (target, self._find(source)))

    def remove(self, path: Path) -> None:
        self._remove(path)

    def _remove(self, path: Path) -> None:
        try:
            self._find(path)
        except FileNotFoundError:
            return
        self._change((path, None))

    def mkdir(self, folder: Path) -> bool:
        try:
            found = self._find(folder)
        except FileNotFoundError:
            self._add(folder, FOLDER)
            return True
        if not found.is_folder:
            raise StorageUnavailable("not a folder")
        return False

    def status(self, fd: int) -> Status:
        return _status(self._node(fd))

    def status_of(self, path: Path) -> Status:
        return _status(self._find(path))

    def listdir(self, folder: Path) -> list[str]:
        return list(self._find(folder).entries)

    def listdir_by_mtime(self, folder: Path, *suffixes: str) -> list[tuple[str, int]]:
        found = self.listdir_by_size(folder, *suffixes)
        return [(name, mtime_ns) for name, (_, mtime_ns) in found]

    def listdir_by_size(self, folder: Path, *suffixes: str) -> list[tuple[str, tuple[int, int]]]:
        entries = self._find(folder).entries.items()
        return [
            (name, (_status(node).size, node.mtime_ns))
            for name, node in entries
            if name.endswith(suffixes) and not node.is_folder
        ]

    def try_lock(self, fd: int) -> bool:
        node = self._node(fd)
        if node.holder not in {None, fd}:
            return False
        node.holder = fd
        return True

    def unlock(self, fd: int) -> None:
        self._unlock(fd)

    def _unlock(self, fd: int) -> None:
        if self._node(fd).holder == fd:
            self._node(fd).holder = None

    def remove_locked(self, path: Path) -> None:
        self._remove(path)

    def now_ns(self) -> int:
        return next(self._ticks)


def _status(node: Node) -> Status:
    return Status(
        size=len(node.data),
        mtime_ns=node.mtime_ns,
        inode=node.number,
        mode=node.mode,
        links=node.links,
    )


def _walk(
    folder: Node,
    entries: Callable[[Node], dict[str, Node]],
    read: Callable[[Node], tuple[bytes, int]],
    where: str = "",
) -> Iterator[tuple[str, tuple[bytes, int] | None]]:
    for name, node in sorted(entries(folder).items()):
        path = f"{where}{name}"
        yield path, None if node.is_folder else read(node)
        if node.is_folder:
            yield from _walk(node, entries, read, f"{path}/")


def materialise(tree: Tree, folder: Path) -> None:
    """Create these files in a folder of the real file system."""
    folder.mkdir(mode=0o700)
    for path, found in sorted(tree.items()):
        if found is None:
            (folder / path).mkdir(mode=0o700)
            continue
        data, mtime_ns = found
        fd = os.open(folder / path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        os.write(fd, data)
        os.close(fd)
        os.utime(folder / path, ns=(mtime_ns, mtime_ns))
