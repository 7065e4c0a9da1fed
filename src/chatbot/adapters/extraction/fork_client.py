"""The service's end of a fork server: one file after the other, each read by a process of its own."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import IO

from chatbot.adapters.extraction.child_process import kill_group, reason_of, start
from chatbot.adapters.extraction.fork_server import STATUS
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import Extracted, ExtractionFailed

_END_SECONDS = 2.0
"""How long a process may take to end once it has answered."""


class ForkClient:
    """Runs a server while it is usable: until a process fails without a reason, or is killed.

    The next file gets another server, so that nothing which a process could learn about the layout
    of its memory helps the next one. `kill` may be called from another thread, at any time.
    """

    def __init__(self, command: Sequence[str], *, timeout_s: float) -> None:
        self._command, self._timeout_s = command, timeout_s
        self._control, self._control_of_server = socket.socketpair()
        self._control.settimeout(_END_SECONDS)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._is_killed = False
        self._has_failed = False

    @property
    def is_usable(self) -> bool:
        """Whether it can read another file."""
        is_ended = self._process is not None and self._process.poll() is not None
        return not (self._is_killed or self._has_failed or is_ended)

    def run(
        self, arguments: Sequence[str], file: int, read: Callable[[IO[bytes]], Extracted]
    ) -> Extracted:
        """Let a process read the file with these arguments of `child`, and return what it answers.

        Raises:
            ExtractionFailed: also if the process was killed, crashed or gave another answer.
        """
        timer = threading.Timer(self._timeout_s, self.kill)
        try:
            with self._requested(arguments, file) as answer:
                timer.start()
                extracted = read(answer)
        except ExtractionFailed as error:
            status = self._status()
            if error.reason is not FailureReason.CRASHED:
                raise
            self._has_failed = True
            reason = FailureReason.TIMEOUT if self._is_killed else reason_of(status)
            raise ExtractionFailed(reason) from error
        finally:
            timer.cancel()
        self._status()
        return extracted

    def kill(self) -> None:
        """Kill the server and all that it has started."""
        with self._lock:
            self._is_killed = True
        self._kill_group()

    def close(self) -> None:
        """End the server; it reads no file at the moment."""
        self.kill()
        self._control.close()
        self._control_of_server.close()
        if self._process is not None:
            self._process.wait()

    def _requested(self, arguments: Sequence[str], file: int) -> IO[bytes]:
        """Return the pipe on which the process of the file answers."""
        answer, end_of_process = os.pipe()
        try:
            self._ensure_started()
            request = " ".join(arguments).encode()
            socket.send_fds(self._control, [request], [file, end_of_process])  # type: ignore[attr-defined,unused-ignore] # not on Windows
        except OSError as error:
            self._has_failed = True
            os.close(answer)
            raise ExtractionFailed(FailureReason.CRASHED) from error
        finally:
            os.close(end_of_process)
        return open(answer, "rb")  # noqa: PTH123 # a descriptor

    def _ensure_started(self) -> None:
        with self._lock:
            if self._is_killed:
                raise ConnectionAbortedError("killed before it was started")
            if self._process is None:
                control = self._control_of_server.fileno()
                self._process = start(self._command, control, subprocess.DEVNULL)
                self._control_of_server.close()

    def _status(self) -> int | None:
        """Wait for the end of the process, and return its exit code; None if it does not end."""
        try:
            raw = self._control.recv(STATUS.size, socket.MSG_WAITALL)
        except OSError:
            raw = b""
        status: int | None = STATUS.unpack(raw)[0] if len(raw) == STATUS.size else None
        self._has_failed = status != 0
        if self._has_failed:  # a server that was killed leaves what its processes have started
            self._kill_group()
        return status

    def _kill_group(self) -> None:
        """Before anything waits for the server: then its group can no longer be named."""
        with self._lock:
            if self._process is not None:
                kill_group(self._process)
