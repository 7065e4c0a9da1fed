"""A process that is started for one file, and ends in any case."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from chatbot.adapters.extraction import windows_job
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import Extracted, ExtractionFailed

_KEPT_VARIABLES = ("SYSTEMROOT", "TESSDATA_PREFIX")
"""The process gets no others. Windows cannot start Python without the first one."""
_END_SECONDS = 2.0


class ChildProcess:
    """Runs once. `kill` may be called from another thread, also before the start."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._is_killed = False

    def run(
        self, command: list[str], file: int, read: Callable[[IO[bytes]], Extracted]
    ) -> Extracted:
        """Start the program with the file as its standard input, and return what it answers.

        Raises:
            ExtractionFailed: also if the process was killed, crashed or gave another answer.
        """
        timer = threading.Timer(self._timeout_s, self.kill)
        with self._started(command, file) as (process, answer), windows_job.limited(process):
            timer.start()
            try:
                return read(answer)
            except ExtractionFailed as error:
                if error.reason is not FailureReason.CRASHED:
                    raise
                raise ExtractionFailed(self._reason(process)) from error
            finally:
                timer.cancel()

    def kill(self) -> None:
        """Kill the process and those that it has started."""
        with self._lock:
            self._is_killed = True
            if self._process is not None:
                _kill(self._process)

    @contextmanager
    def _started(
        self, command: list[str], file: int
    ) -> Iterator[tuple["subprocess.Popen[bytes]", IO[bytes]]]:
        """Start the process, which has ended when the block ends."""
        with self._lock:
            if self._is_killed:
                raise ExtractionFailed(FailureReason.CRASHED)
            process = self._process = _start(command, file)
        with process:
            try:
                assert process.stdout is not None  # noqa: S101 # it is a pipe
                yield process, process.stdout
            finally:
                _kill(process)

    def _reason(self, process: "subprocess.Popen[bytes]") -> FailureReason:
        """Return why there is no valid answer."""
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        used_up = sys.platform != "win32" and process.returncode == -signal.SIGXCPU
        return FailureReason.TIMEOUT if used_up or self._is_killed else FailureReason.CRASHED


def _start(command: list[str], file: int) -> "subprocess.Popen[bytes]":
    """Start the program in a group of its own, which Ctrl-C in a terminal does not reach."""
    return subprocess.Popen(  # noqa: S603 # no shell, and a command of ours
        command,
        stdin=file,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        cwd=sys.prefix,
        start_new_session=True,
        creationflags=windows_job.CREATION_FLAGS,
    )


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill the group of a process that has not been waited for: its number is not in use again."""
    if process.returncode is not None:
        return
    if sys.platform == "win32":
        process.kill()
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
