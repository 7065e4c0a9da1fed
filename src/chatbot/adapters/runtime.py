"""Operating system features of the running process, and what happens where they are missing.

`return_large_blocks`: glibc only.
`lower_thread_priority`: Linux only; a no-op elsewhere.
`terminal_id`: device and session on POSIX; the tab of Windows Terminal on Windows.
"""

import ctypes
import os
import sys
import threading

BACKGROUND_NICE = 10
_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE_BYTES = 128 * 1024  # the threshold that glibc starts with


def return_large_blocks() -> bool:
    """Return freed blocks of 128 KiB or more to the system; return whether that is in effect.

    glibc raises this threshold to the size of the first large block that is freed, such as the
    19 MiB of a password hash, and keeps smaller blocks from then on (mallopt(3), "Dynamic
    adjustment of the mmap threshold"). Setting the threshold fixes it.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES))


def lower_thread_priority(nice: int = BACKGROUND_NICE) -> bool:
    """Lower the priority of the current thread; return whether it is in effect.

    On Linux a nice value belongs to a thread (setpriority(2), "C library/kernel differences"); a
    priority that is already lower is kept. Without it, on macOS and Windows and in a sandbox that
    forbids the call, only latency under load suffers.
    """
    if sys.platform != "linux":
        return False
    thread = threading.get_native_id()
    try:
        if os.getpriority(os.PRIO_PROCESS, thread) < nice:
            os.setpriority(os.PRIO_PROCESS, thread, nice)
    except PermissionError:
        return False
    return True


def terminal_id() -> str:
    """Return an id that is the same for all commands started in this terminal.

    Commands without a terminal, such as cron's, share one id per account. On Windows, the parent
    process is a launcher and does not identify the terminal; all old console windows share one id.
    """
    if sys.platform == "win32":
        return os.environ.get("WT_SESSION", "console")
    try:
        return f"{os.ttyname(sys.stdin.fileno())} {os.getsid(0)}"
    except (AttributeError, OSError, ValueError):  # stdin is closed or not a terminal
        if not _has_terminal():
            return f"no terminal, account {os.getuid()}"
        return f"none {os.getsid(0)}"


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal, even if stdin is redirected."""
    if sys.platform == "win32":
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NONBLOCK))
    except OSError:
        return False
    return True
