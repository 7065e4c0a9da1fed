"""A process that is started for one file, and ends in any case: where processes cannot be forked."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from chatbot.adapters.extraction import windows_job
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import Extracted, ExtractionFailed

_KEPT_VARIABLES = ("SYSTEMROOT", "TESSDATA_PREFIX")
"""The only environment variables that the process gets.

Windows cannot start Python without the first one.
"""
_END_SECONDS = 2.0


class ChildProcess:
    """Runs once. `kill` may be called from another thread, also before the start."""

    is_usable = False
    """For another file."""

    def __init__(self, command: Sequence[str], *, timeout_s: float) -> None:
        self._command, self._timeout_s = command, timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._is_killed = False

    def run(
        self, arguments: Sequence[str], file: int, read: Callable[[IO[bytes]], Extracted]
    ) -> Extracted:
        """Start the program with the file as its standard input, and return what it answers.

        The arguments are added to the command.

        Raises:
            ExtractionFailed: also if the process was killed, crashed or gave another answer.
        """
        timer = threading.Timer(self._timeout_s, self.kill)
        with (
            self._started([*self._command, *arguments], file) as (process, answer),
            windows_job.limited(process),
        ):
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
                kill_group(self._process)

    def close(self) -> None:
        """Do nothing: the process has ended."""

    @contextmanager
    def _started(
        self, command: list[str], file: int
    ) -> Iterator[tuple["subprocess.Popen[bytes]", IO[bytes]]]:
        """Start the process, which has ended when the block ends."""
        with self._lock:
            if self._is_killed:
                raise ExtractionFailed(FailureReason.CRASHED)
            process = self._process = start(command, file, subprocess.PIPE)
        with process:
            try:
                assert process.stdout is not None  # noqa: S101 # it is a pipe
                yield process, process.stdout
            finally:
                kill_group(process)

    def _reason(self, process: "subprocess.Popen[bytes]") -> FailureReason:
        """Return why there is no valid answer."""
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        return FailureReason.TIMEOUT if self._is_killed else reason_of(process.returncode)


def reason_of(exit_code: int | None) -> FailureReason:
    """Return why a process ended without a valid answer; libraries abort without memory."""
    if sys.platform != "win32" and exit_code == -signal.SIGXCPU:
        return FailureReason.TIMEOUT
    if sys.platform != "win32" and exit_code == -signal.SIGABRT:
        return FailureReason.OUT_OF_MEMORY
    return FailureReason.CRASHED


def start(command: Sequence[str], stdin: int, stdout: int) -> "subprocess.Popen[bytes]":
    """Start a program in a group of its own, which Ctrl-C in a terminal does not reach."""
    return subprocess.Popen(  # noqa: S603 # no shell, and a command of ours
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        cwd=sys.prefix,
        start_new_session=True,
        creationflags=windows_job.CREATION_FLAGS,
    )


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill the group of a process that has not been waited for: its number is not in use again."""
    if process.returncode is not None:
        return
    if sys.platform == "win32":
        process.kill()
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
