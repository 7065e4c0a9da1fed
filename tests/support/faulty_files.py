"""A file system whose operations fail where a test requests it."""

import errno
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

from chatbot.adapters.filesystem.files import Files, translated
from volatile_files import NO_STEPS, VolatileFiles

OPERATIONS = {name for name in vars(Files) if not name.startswith("_")} - NO_STEPS


class Fault(Enum):
    """How an operation fails."""

    ENOSPC = errno.ENOSPC
    """The operation has no effect, or a write is done by half."""
    EINTR = errno.EINTR
    """The operation has no effect."""
    EIO = errno.EIO
    """The operation takes effect but reports failure; an fsync saves nothing."""
    LIE = "lie"
    """A write reports success but writes half; any other operation succeeds."""
    SHORT_LIE = "short lie"
    """A write reports half but writes a quarter."""


class FaultyFiles(VolatileFiles):
    """Files in memory. Operations fail by number, counted from 0, or by name, the next one first."""

    def __init__(self, *, has_journal: bool = False) -> None:
        self.faults: dict[int, Fault] = {}
        self.next_faults: list[tuple[str, Fault]] = []
        self.steps: list[str] = []
        super().__init__(has_journal=has_journal)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return partial(self._step, name, found) if name in OPERATIONS else found

    def _step(self, name: str, work: Callable[..., Any], *given: Any, **named: Any) -> object:
        fault = self.faults.get(len(self.steps))
        self.steps.append(name)
        if self.next_faults and self.next_faults[0][0] == name:
            fault = self.next_faults.pop(0)[1]
        if fault is None:
            return work(*given, **named)
        if name == "write":
            return self._write_badly(fault, *given)
        if fault in {Fault.LIE, Fault.SHORT_LIE}:
            return work(*given, **named)
        if name == "fsync" and fault is Fault.EIO:
            self.fail_to_sync(*given)
        elif name == "create" and fault is Fault.EIO:
            super().close(work(*given, **named))
        elif name == "close" or (fault is Fault.EIO and not name.startswith(("fsync", "open"))):
            work(*given, **named)
        return self._fail(fault)

    def _write_badly(self, fault: Fault, fd: int, data: bytes) -> int:
        if fault is not Fault.EINTR:
            share = {Fault.EIO: 1, Fault.SHORT_LIE: 4}.get(fault, 2)
            super().write(fd, data[: len(data) // share])
        if fault is Fault.LIE:
            return len(data)
        if fault is Fault.SHORT_LIE:
            return len(data) // 2
        return self._fail(fault)

    def _fail(self, fault: Fault) -> int:
        with translated:
            raise OSError(fault.value, "on purpose")
        raise AssertionError("an error that is not translated")
