"""The files below the paths of a command."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Stamp = tuple[int, int]
"""Time of change and size of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFiles:
    """The files with their stamps, in order, and the paths that could not be read.

    `roots` are absolute paths. Hidden files and folders, symbolic links below a root, pipes and
    devices are left out.
    """

    roots: Sequence[Path]
    files: dict[Path, Stamp] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)

    def root_of(self, path: Path) -> Path:
        """Return the first root of the path."""
        return next(root for root in self.roots if root in (path, *path.parents))

    def gone(self, known: Iterable[Path]) -> list[Path]:
        """Return the paths below the roots whose files no longer exist.

        Below a root with a problem, or without any file, no file counts as gone, because the folder
        may be unavailable. A root that is itself a file may be gone.
        """
        missing = [path for path in known if path not in self.files]
        trusted = [root for root in self.roots if self._is_trusted(root)]
        below = [path for path in missing if any(root in path.parents for root in trusted)]
        return sorted({*below, *(path for path in missing if path in self.roots)})

    def _is_trusted(self, root: Path) -> bool:
        has_problem = any(root in (path, *path.parents) for path in self.problems)
        return not has_problem and any(root in path.parents for path in self.files)


def find(paths: Iterable[Path]) -> FoundFiles:
    """Find the files at the paths, and below those that are folders."""
    roots = list(dict.fromkeys(Path(os.path.abspath(path)) for path in paths))  # noqa: PTH100 # links stay
    found = FoundFiles(roots=roots)
    for root in roots:
        if _is_special(root):
            found.problems[root] = "neither a file nor a folder"
            continue
        for path in [root] if root.is_file() else _walk(root, found):
            _note(path, found)
    return found


def _is_special(root: Path) -> bool:
    """Whether the path is a pipe, a socket or a device."""
    return root.exists() and not root.is_file() and not root.is_dir()


def _walk(root: Path, found: FoundFiles) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        found.problems[Path(error.filename)] = error.strerror or "cannot be read"

    for folder, folders, names in os.walk(root, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _note(path: Path, found: FoundFiles) -> None:
    """Note a regular file; below a root, links are left out, and pipes and devices everywhere."""
    try:
        status = path.stat() if path in found.roots else path.lstat()
    except OSError as error:
        found.problems[path] = error.strerror or "cannot be read"
        return
    if stat.S_ISREG(status.st_mode):
        found.files[path] = (status.st_mtime_ns, status.st_size)
