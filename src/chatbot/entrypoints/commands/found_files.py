"""The files below the paths of a command."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Stamp = tuple[int, int]
"""Time of change and size of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFiles:
    """The files with their stamps, in order, and the paths that could not be read.

    `roots` are absolute paths. Hidden files and folders, and symbolic links below a root, are left
    out.
    """

    roots: Sequence[Path]
    files: dict[Path, Stamp] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)

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
        for path in [root] if root.is_file() else _walk(root, found):
            _note(path, found)
    return found


def _walk(root: Path, found: FoundFiles) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        found.problems[Path(error.filename)] = error.strerror or "cannot be read"

    for folder, folders, names in os.walk(root, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _note(path: Path, found: FoundFiles) -> None:
    try:
        status = path.stat()
    except OSError as error:
        found.problems[path] = error.strerror or "cannot be read"
        return
    if path in found.roots or not path.is_symlink():
        found.files[path] = (status.st_mtime_ns, status.st_size)
