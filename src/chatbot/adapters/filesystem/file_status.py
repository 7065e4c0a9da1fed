"""The file system's metadata of a file."""

import os
import stat
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
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


def status_from(found: os.stat_result) -> Status:
    return Status(
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        inode=found.st_ino,
        mode=found.st_mode,
        links=found.st_nlink,
    )
