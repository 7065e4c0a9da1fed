"""Limits of a process on Windows, where it cannot set them itself: a job object of the parent.

Elsewhere this does nothing: see `confinement`.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from chatbot.adapters.extraction.confinement import CPU_SECONDS, MEMORY_BYTES

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    CREATION_FLAGS = 0x4000 | 0x08000000  # BELOW_NORMAL_PRIORITY_CLASS | CREATE_NO_WINDOW

    _EXTENDED_LIMITS = 9  # JobObjectExtendedLimitInformation
    _PROCESS_TIME, _ACTIVE_PROCESSES, _PROCESS_MEMORY, _KILL_ON_CLOSE = 0x2, 0x8, 0x100, 0x2000
    _MOST_PROCESSES = 2
    """Python, and Tesseract."""
    _TICKS_A_SECOND = 10_000_000

    class _BasicLimits(ctypes.Structure):
        """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

        _fields_ = (
            ("PerProcessUserTimeLimit", wintypes.LARGE_INTEGER),
            ("PerJobUserTimeLimit", wintypes.LARGE_INTEGER),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class _Limits(ctypes.Structure):
        """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

        _fields_ = (
            ("BasicLimitInformation", _BasicLimits),
            ("IoInfo", ctypes.c_ulonglong * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    def _new_job(kernel: "ctypes.WinDLL") -> wintypes.HANDLE:
        kernel.CreateJobObjectW.restype = wintypes.HANDLE
        limits = _Limits()
        basic = limits.BasicLimitInformation
        basic.LimitFlags = _PROCESS_TIME | _ACTIVE_PROCESSES | _PROCESS_MEMORY | _KILL_ON_CLOSE
        basic.PerProcessUserTimeLimit = CPU_SECONDS * _TICKS_A_SECOND
        basic.ActiveProcessLimit = _MOST_PROCESSES
        limits.ProcessMemoryLimit = MEMORY_BYTES
        job = wintypes.HANDLE(kernel.CreateJobObjectW(None, None))
        size = ctypes.sizeof(limits)
        if not kernel.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits), size):
            raise ctypes.WinError(ctypes.get_last_error())
        return job

    @contextmanager
    def limited(process: "subprocess.Popen[bytes]") -> Iterator[None]:
        """Put a process that was just started into a job, which ends with the block."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        job = _new_job(kernel)
        try:
            handle = wintypes.HANDLE(int(process._handle))  # type: ignore[attr-defined]  # noqa: SLF001
            if not kernel.AssignProcessToJobObject(job, handle):
                raise ctypes.WinError(ctypes.get_last_error())
            yield
        finally:
            kernel.CloseHandle(job)

else:
    CREATION_FLAGS = 0

    @contextmanager
    def limited(process: "subprocess.Popen[bytes]") -> Iterator[None]:  # noqa: ARG001 # as above
        """Do nothing: the process limits itself."""
        yield
