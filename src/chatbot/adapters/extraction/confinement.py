"""The restrictions of the child before it reads a file: time, memory, files, network and programs.

On POSIX the kernel enforces the limits; Windows gets them from the job object of the parent. What
Python itself opens, connects or starts is refused everywhere by an audit hook, which cannot be
removed. Linux also takes the network away where it lets unprivileged processes do so.
"""

import ctypes
import os
import sys
from collections.abc import Callable

CPU_SECONDS = 60
MEMORY_BYTES = 512 * 1024 * 1024
_MOST_FILES = 64
_PARENT_DEATH_SIGNAL, _NO_NEW_PRIVILEGES, _SIGKILL = 1, 38, 9  # <linux/prctl.h>
_NEW_USER_NAMESPACE, _NEW_NETWORK_NAMESPACE = 0x10000000, 0x40000000  # <linux/sched.h>
_FORBIDDEN = (
    *("socket.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "os.startfile"),
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "os.kill", "shutil.", "tempfile.", "winreg."),
)
"""Audit events, or their beginnings."""
_OPENING, _STARTING = "open", "subprocess.Popen"


class Refused(PermissionError):
    """A parser attempted a forbidden operation."""


def leave_network() -> None:
    """Leave the network where the kernel allows it, with the processes that are forked later."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        libc.unshare(_NEW_USER_NAMESPACE | _NEW_NETWORK_NAMESPACE)


def die_with_parent() -> None:
    """End when the process ends that has started this one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, _SIGKILL)


def confine(program: str) -> None:
    """Apply the restrictions. `program` is the only one that may be started."""
    if sys.platform != "win32":
        _limit()
        _lower_priority()
    sys.addaudithook(_hook(program, tuple(_readable_folders())))


if sys.platform != "win32":
    import resource

    def _limit() -> None:
        for limit, most in (
            (resource.RLIMIT_CPU, CPU_SECONDS),
            (resource.RLIMIT_AS, MEMORY_BYTES),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, _MOST_FILES),
        ):
            _, hard = resource.getrlimit(limit)
            allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
            later = hard if limit == resource.RLIMIT_CPU else allowed  # SIGKILL instead of SIGXCPU
            resource.setrlimit(limit, (allowed, later))

    def _lower_priority() -> None:
        os.nice(10)


def _readable_folders() -> list[str]:
    """Return the folders that Python imports from."""
    folders = {sys.prefix, sys.base_prefix, *filter(None, sys.path)}
    return [os.path.join(folder, "") for folder in folders]  # noqa: PTH118 # pathlib takes 3 ms


def _hook(program: str, folders: tuple[str, ...]) -> Callable[[str, tuple[object, ...]], None]:
    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event == _OPENING and not _is_import(arguments, folders):
            raise Refused("a file outside the installation")
        if event == _STARTING and (not program or arguments[0] != program):
            raise Refused("a program")
        if event.startswith(_FORBIDDEN):
            raise Refused(event)

    return refuse


def _is_import(arguments: tuple[object, ...], folders: tuple[str, ...]) -> bool:
    """Whether a file of the installation is opened for reading, or one that is open already."""
    path, _, flags = arguments
    if isinstance(path, int) or path == os.devnull:
        return True
    writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    return not writes and os.path.abspath(str(path)).startswith(folders)  # noqa: PTH100 # links are not followed
