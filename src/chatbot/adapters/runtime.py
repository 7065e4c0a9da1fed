"""What only some operating systems have, asked of the running process.

`return_large_blocks`: only glibc keeps them.
`lower_this_thread`: Linux sets the nice value of the thread; macOS and Windows do nothing.
`name_of_this_terminal`: POSIX has its device and session; Windows the tab of Windows Terminal.
"""

import ctypes
import os
import sys
import threading

BACKGROUND_NICE = 10
_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE_BYTES = 128 * 1024  # the threshold that glibc starts with


def return_large_blocks() -> bool:
    """Have freed blocks of 128 KiB and more go back to the system; return whether they do.

    glibc raises that threshold to the size of the first large block that is freed, as the 19 MiB
    of a password hash are; what is smaller then stays with the process (mallopt(3), "Dynamic
    adjustment of the mmap threshold"). Setting it keeps it. Other C libraries have no such call.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES))


def lower_this_thread(nice: int = BACKGROUND_NICE) -> bool:
    """Let the other threads of the machine go before this one; return whether it does.

    On Linux a nice value belongs to a thread (setpriority(2), "C library/kernel differences");
    a thread that is lower already stays as it is. macOS and Windows have nothing of the kind
    that Python can reach: the thread keeps its priority, and only latency under load suffers.
    So it does in a sandbox that forbids the call.
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


def name_of_this_terminal() -> str:
    """What every command that is started in this terminal finds the same, and others do not.

    All commands of an account without a terminal, as cron starts them, find the same too.

    On Windows a command's parent is no help: it is a launcher that lives as long as the command.
    The old console windows there have nothing of their own; they count as one.
    """
    if sys.platform == "win32":
        return os.environ.get("WT_SESSION", "console")
    try:
        return f"{os.ttyname(sys.stdin.fileno())} {os.getsid(0)}"
    except (AttributeError, OSError, ValueError):  # no stdin, or one that is not a terminal
        if not _has_terminal():
            return f"no terminal, account {os.getuid()}"
        return f"none {os.getsid(0)}"


def _has_terminal() -> bool:
    """Whether this process was started in a terminal, whatever its standard input is now."""
    if sys.platform == "win32":
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NONBLOCK))
    except OSError:
        return False
    return True
