"""`fdatasync` by the kernel, reported to the event loop (Linux AIO, `man 2 io_submit`).

A thread that waits for `fdatasync` beside a busy event loop costs 140 to 200 us of CPU, because it
wakes up into contention for the interpreter's lock; the sync alone costs 37. Here a kernel worker
does it and signals an eventfd that the loop watches: 15 us, a tenth of a stored turn
(`bench/bench_turn.py`). Other systems, and sandboxes that forbid these calls, use a thread.
"""

import asyncio
import ctypes
import errno
import os
import platform
import struct
import sys
from contextlib import suppress
from itertools import count

_CALLS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
"""The numbers of io_setup, io_destroy, io_getevents and io_submit (asm/unistd.h)."""
_FDSYNC, _SIGNALS_EVENTFD = 3, 1  # IOCB_CMD_FDSYNC, IOCB_FLAG_RESFD (linux/aio_abi.h)
_REQUEST = struct.Struct("<QIIHhIQQqQII")  # struct iocb: data, 2, opcode, 1, fd, 4, flags, eventfd
_EVENT = struct.Struct("<QQqq")  # struct io_event: data, request, result, second result
_AT_ONCE = 256


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _new_eventfd() -> int:
    if sys.platform != "linux":
        raise _error(errno.ENOSYS)
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


class KernelAio:
    """Syncs files for the running event loop; raises `OSError` if the system does not support it."""

    def __init__(self) -> None:
        if platform.machine() not in _CALLS:
            raise _error(errno.ENOSYS)
        setup, self._destroy, self._getevents, self._submit = _CALLS[platform.machine()]
        self._libc = ctypes.PyDLL(
            None, use_errno=True
        )  # keeps the interpreter's lock: the calls are short
        self._context = ctypes.c_ulong(0)
        self._events = ctypes.create_string_buffer(_AT_ONCE * _EVENT.size)
        self._eventfd = _new_eventfd()
        try:
            self._call(setup, _AT_ONCE, ctypes.byref(self._context))
        except OSError:
            os.close(self._eventfd)
            raise
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._numbers = count()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._eventfd, self._finish)

    def fsync(self, fd: int) -> "asyncio.Future[None]":
        """Start to write the file's data and length to the disk; the future raises the error.

        Raises:
            OSError: the kernel accepts no more requests, or none of this kind.
        """
        number = next(self._numbers)
        flags = _SIGNALS_EVENTFD, self._eventfd
        values = _REQUEST.pack(number, 0, 0, _FDSYNC, 0, fd, 0, 0, 0, 0, *flags)
        request = ctypes.pointer(ctypes.create_string_buffer(values))
        self._call(self._submit, self._context, 1, ctypes.byref(request))  # copies the request
        done = self._waiting[number] = self._loop.create_future()
        return done

    def _finish(self) -> None:
        """Resolve the futures of all syncs that have ended, which may be more than `_AT_ONCE`."""
        found = _AT_ONCE
        # The kernel signals after it has stored the event.
        with suppress(BlockingIOError, InterruptedError):
            os.read(self._eventfd, 8)
            while found == _AT_ONCE:
                found = self._call(self._getevents, self._context, 0, _AT_ONCE, self._events, None)
                events = memoryview(self._events)[: found * _EVENT.size]
                for number, _, result, _ in _EVENT.iter_unpack(events):
                    self._resolve(number, result)

    def _resolve(self, number: int, result: int) -> None:
        done = self._waiting.pop(number)
        if not done.done():
            done.set_exception(_error(-result)) if result else done.set_result(None)

    def _call(self, number: int, *given: object) -> int:
        wide = (ctypes.c_long(each) if isinstance(each, int) else each for each in given)
        result = int(self._libc.syscall(ctypes.c_long(number), *wide))
        if result < 0:
            raise _error(ctypes.get_errno())
        return result

    def close(self) -> None:
        """Wait for the syncs in progress, then close."""
        self._loop.remove_reader(self._eventfd)
        self._call(self._destroy, self._context)
        os.close(self._eventfd)
