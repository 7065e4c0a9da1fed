"""The tests in a Python without what only POSIX has: `python tasks.py test-portable`, on Linux.

Pretended to our own code, `src/` and `tests/`: `sys.platform` and `os.name` are those of Windows;
the modules and names below are not there; a folder cannot be opened; a file that this process has
open is neither replaced nor removed; names that Windows reserves cannot be made; an event loop
takes no signal handlers. Text whose encoding is not named is an error, and the programs that the
tests start write to a console of code page 1252. Postgres and PgBouncer are another machine's.

Not pretended: the job objects of Windows; libraries and the standard library stay those of Linux (paths, filelock's locks, the
event loop), so does the file system (letters' case, the times of open files, other processes' open
files), and started programs see Linux. Only a run on Windows shows those.
"""

import asyncio
import builtins
import errno
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from multiprocessing import connection
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chatbot.adapters.extraction import windows_job
from postgres import GIVEN as POSTGRES
from postgres import postgres_url

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
OURS = (f"{TESTS}{os.sep}", f"{ROOT / 'src'}{os.sep}")
CONSOLE = {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "PYTHONWARNDEFAULTENCODING": "1"}
SUITES = (
    "unit",
    "integration/json_files",
    *(
        f"integration/{name}.py"
        for name in (
            "contracts/test_storage",
            "test_json_model",
            "test_json_power_loss",
            "test_json_windows",
            "test_volatile_files",
            "test_commands",
        )
    ),
)
WARNINGS = ("error", "ignore::EncodingWarning", r"error::EncodingWarning:(chatbot|tests)\b")

MODULES = {"fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
# What the documentation of the module calls "Availability: Unix", as far as programs use it.
NAMES = {
    "os": "chown chroot ctermid fchdir fchmod fchown fdatasync fork forkpty fpathconf getegid geteuid "
    "getgid getgroups getloadavg getpgid getpgrp getpriority getsid getuid kill killpg lchown "
    "lockf mkfifo mknod nice O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_SYNC openpty pathconf posix_fadvise "
    "posix_fallocate posix_spawn pread preadv pwrite pwritev PRIO_PROCESS readv sched_getaffinity "
    "sendfile setegid seteuid setgid setgroups setpgid setpriority setsid setuid statvfs sync "
    "tcgetpgrp ttyname uname wait wait3 wait4 WNOHANG writev",
    "signal": "alarm pause pthread_kill pthread_sigmask setitimer SIGALRM SIGCHLD SIGCONT SIGHUP "
    "SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 sigpending sigwait",
    "socket": "AF_UNIX CMSG_LEN recv_fds send_fds SO_REUSEPORT socketpair_unix",
    "sys": "",
    "time": "clock_getres clock_gettime clock_gettime_ns clock_settime pthread_getcpuclockid tzset",
}
RESERVED = re.compile(r'(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*[<>:"/\\|?*\0-\x1f].*|.*[. ]')


class StandIn(ModuleType):
    """A module without some of its names, and with others in their place."""

    _real: ModuleType
    _missing: set[str]
    _before: dict[str, object]

    def __init__(self, real: ModuleType, **instead: object) -> None:
        super().__init__(real.__name__)
        missing = set(NAMES[real.__name__].split())
        self.__dict__.update(_real=real, _missing=missing, _before={}, **instead)

    def __getattr__(self, name: str) -> object:
        if name in self._missing:
            raise AttributeError(f"{self.__name__}.{name}: there is none on Windows")
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: object) -> None:
        """What a test changes, it changes for all."""
        self._before.setdefault(name, getattr(self._real, name))
        setattr(self._real, name, value)

    def __delattr__(self, name: str) -> None:
        """So pytest's monkeypatch takes a change back: it found the name absent in `__dict__`."""
        setattr(self._real, name, self._before.pop(name, getattr(self._real, name)))


def refuse_reserved(path: "os.PathLike[str] | str") -> None:
    if RESERVED.fullmatch(Path(path).name):
        raise OSError(errno.EINVAL, "a name that Windows reserves", str(path))


def refuse_open(path: "os.PathLike[str] | str") -> None:
    """Windows keeps the name of an open file, as Python opens files."""
    name = Path(path).resolve()
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            if fd.readlink() == name:
                raise PermissionError(errno.EACCES, "open in this process", str(name))


def open_file(path: "os.PathLike[str] | str", flags: int, mode: int = 0o777) -> int:
    if os.path.isdir(path):  # noqa: PTH112 - as given
        raise PermissionError(errno.EACCES, "Windows opens no folders", str(path))
    if flags & os.O_CREAT:
        refuse_reserved(path)
    return os.open(path, flags, mode)


def moves(real: Callable[..., Any]) -> Callable[..., Any]:
    def move(source: Any, target: Any, **how: Any) -> Any:
        refuse_reserved(target)
        refuse_open(source)
        refuse_open(target)
        return real(source, target, **how)

    return move


def removes(real: Callable[..., Any]) -> Callable[..., Any]:
    def remove(path: Any, **how: Any) -> Any:
        refuse_open(path)
        return real(path, **how)

    return remove


def makes(real: Callable[..., Any]) -> Callable[..., Any]:
    def make(path: Any, *args: Any, **how: Any) -> Any:
        refuse_reserved(path)
        return real(path, *args, **how)

    return make


def pretend() -> None:
    """Change this process for good."""
    stand_ins = {
        "os": StandIn(
            os,
            name="nt",
            supports_fd={os.stat, os.truncate},
            open=open_file,
            mkdir=makes(os.mkdir),
            **{name: moves(getattr(os, name)) for name in ("rename", "replace")},
            **{name: removes(getattr(os, name)) for name in ("remove", "unlink")},
        ),
        "sys": StandIn(sys, platform="win32"),
        **{module.__name__: StandIn(module) for module in (signal, socket, time)},
    }
    real = builtins.__import__

    def import_ours(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - the name of the real one
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        file = str((globals or {}).get("__file__"))
        if level == 0 and file.startswith(OURS) and file != __file__:
            if name.partition(".")[0] in MODULES:
                raise ModuleNotFoundError(f"No module named {name!r} on Windows", name=name)
            if name in stand_ins:
                return stand_ins[name]
        return real(name, globals, locals, fromlist or (), level)

    builtins.__import__ = import_ours
    for name, changed in (("rename", moves), ("replace", moves), ("unlink", removes)):
        setattr(Path, name, changed(getattr(Path, name)))
    Path.mkdir = makes(Path.mkdir)  # type: ignore[method-assign]
    del asyncio.SelectorEventLoop.add_signal_handler
    vars(connection)["PipeConnection"] = connection.Connection  # Windows has both


def main(arguments: list[str]) -> int:
    if sys.platform != "linux":
        sys.stderr.write("test-portable pretends Windows on Linux; elsewhere run the tests\n")
        return 2
    if not sys.flags.warn_default_encoding:
        os.execve(sys.executable, [sys.executable, __file__, *arguments], {**os.environ, **CONSOLE})
    suites = (
        [] if any(TESTS.name in word for word in arguments) else [str(TESTS / s) for s in SUITES]
    )
    with ExitStack() as servers:
        with suppress(pytest.skip.Exception):  # the tests say again why there is none
            os.environ[POSTGRES] = servers.enter_context(postgres_url())
        assert windows_job.CREATION_FLAGS == 0  # imported before: Linux has no job objects
        pretend()
        return pytest.main(["-o", "filterwarnings=" + "\n".join(WARNINGS), *suites, *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
