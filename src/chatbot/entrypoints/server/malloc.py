"""How the C library returns memory of this process to the system."""

import ctypes
import sys

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
