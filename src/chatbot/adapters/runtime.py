"""Thread priority: lowered on Linux, unchanged elsewhere."""

import os
import sys
import threading

BACKGROUND_NICE = 10


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
