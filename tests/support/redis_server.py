"""A real Redis server of its own on a loopback port, which stays the same across restarts."""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from postgres import free_port
from programs import program, unavailable

PASSWORD = "p@ss/word:%?#"
STARTS_WITHIN_S = 30


class RedisServer:
    """It keeps its counters across restarts: every command is in its append-only file."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder, self._options = folder, options
        self._program = program("redis-server")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._program, "--port", str(self.port), "--bind", "127.0.0.1"),
                    *("--dir", str(self._folder), "--save", "", "--appendonly", "yes"),
                    *("--appendfsync", "no", *self._options),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self._answers():
            assert time.monotonic() < deadline, (self._folder / "log").read_text("utf-8")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            self.command("PING")
        except RedisError as error:
            return "NOAUTH" in str(error)
        return True

    def stop(self) -> None:
        """Kill it, as a power failure does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It accepts connections and answers nothing."""
        if sys.platform == "win32" or self._process is None:
            unavailable("there is no process that can be stopped")
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def command(self, *words: str) -> Any:
        """Execute a command without a password."""
        with Redis(port=self.port, socket_timeout=STARTS_WITHIN_S) as client:
            return client.execute_command(*words)


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """A running server; leaves neither processes nor files."""
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(folder, *options)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
