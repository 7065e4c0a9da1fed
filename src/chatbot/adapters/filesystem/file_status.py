"""The file system's metadata of a file."""

import stat
import sys
from typing import NamedTuple


class Status(NamedTuple):
    """Size, time and names of a file. `links` is 0 once its last name is gone."""

    size: int
    mtime_ns: int
    inode: int
    mode: int
    links: int

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_open_to_others(self) -> bool:
        """Whether the group or everyone can read it; always false on Windows."""
        return sys.platform != "win32" and bool(self.mode & 0o077)
