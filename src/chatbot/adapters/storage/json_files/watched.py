"""A file that people may edit while the service runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from chatbot.adapters.filesystem.atomic import opened
from chatbot.adapters.filesystem.file_status import Status
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_values import logging_path_of_errors

_FRESH_NS = 50_000_000
"""A file may change twice within one tick of the clock that stamps it (1 to 10 ms on Linux), and
its freed inode may come back: younger than this, it is read again (git's "racy" entries)."""
Parsed = TypeVar("Parsed")


class Watched(Generic[Parsed]):
    """A file that is parsed again when it has changed."""

    def __init__(self, path: Path, files: Files, parse: Callable[[bytes | None], Parsed]) -> None:
        self._path, self._files, self._parse = path, files, parse
        self._known: tuple[Status, Parsed] | None = None

    def read(self) -> Parsed:
        known = self._known
        try:
            if known is not None and known[0] == self._files.status_of(self._path):
                return known[1]
            with logging_path_of_errors(self._path):
                return self._read_again()
        except FileNotFoundError:
            return self._parse(None)

    def read_unless_changed(self) -> Parsed | None:
        """Returns what was read last, if the file is unchanged; otherwise None."""
        try:
            known = self._known
            if known is not None and known[0] == self._files.status_of(self._path):
                return known[1]
        except FileNotFoundError:
            pass
        return None

    def _read_again(self) -> Parsed:
        with opened(self._files, self._files.open_to_read(self._path)) as fd:
            status = self._files.status(fd)
            parsed = self._parse(self._files.read_at(fd, status.size, 0))
            is_settled = self._files.now_ns() - status.mtime_ns > _FRESH_NS
            self._known = (status, parsed) if is_settled else None
            return parsed
