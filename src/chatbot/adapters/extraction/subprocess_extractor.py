"""Extraction in a process of its own for each file."""

import asyncio
import importlib.util
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import chatbot
from chatbot.adapters.extraction import answers
from chatbot.adapters.extraction.formats import LIBRARIES, Format, format_of, has_extra
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import Extracted, ExtractionFailed, Extractor

if sys.platform == "win32":
    from chatbot.adapters.extraction.child_process import ChildProcess as Process

    _PROGRAM = "child import main; main(sys.argv[3], sys.argv[4], sys.argv[1])"
else:
    from chatbot.adapters.extraction.fork_client import ForkClient as Process

    _PROGRAM = "fork_server import serve; serve(sys.argv[1])"

_WALL_SECONDS = 60.0
_IDLE_SECONDS = 10.0
"""How long a process that can read another file waits for it."""
_START = (
    "import os, sys; sys.path.extend(sys.argv[2].split(os.pathsep)); "
    f"from chatbot.adapters.extraction.{_PROGRAM}"
)


class SubprocessExtractor(Extractor):
    """Starts Python without the environment of the service, which limits itself for each file.

    Where processes can be forked, the one of a file is forked from one that stays for the next file
    and reads none itself: that takes 3 ms instead of 30.
    """

    def __init__(
        self, *, max_bytes: int, ocr_program: str = "", timeout_s: float = _WALL_SECONDS
    ) -> None:
        """Args:
        max_bytes: larger files are rejected.
        ocr_program: path of Tesseract; empty = text in images is not recognized.
        timeout_s: after that many seconds the process is killed.
        """
        self._max_bytes = max_bytes
        self._ocr_program = ocr_program
        self._timeout_s = timeout_s
        self._idle: list[Process] = []
        self._closing: asyncio.TimerHandle | None = None

    def media_type_of(self, declared: str, name: str) -> str:
        return _supported(declared, name).media_type

    async def extract(self, path: Path, media_type: str, name: str) -> Extracted:
        expected = _supported(media_type, name)
        process = self._taken()
        reading = asyncio.ensure_future(asyncio.to_thread(self._extract, path, expected, process))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            process.kill()
            with suppress(ExtractionFailed):
                await reading
            raise
        finally:
            self._give_back(process)

    async def aclose(self) -> None:
        self._stop_closing()
        await asyncio.to_thread(self._close_idle)

    def _extract(self, path: Path, expected: Format, process: Process) -> Extracted:
        if path.stat().st_size > self._max_bytes:
            raise ExtractionFailed(FailureReason.FILE_TOO_LARGE)
        read = partial(answers.read, media_type=expected.media_type)
        with path.open("rb") as file:
            return process.run([expected.reader, expected.signature.hex()], file.fileno(), read)

    def _taken(self) -> Process:
        """Return a process that is not used at the moment."""
        self._stop_closing()
        while self._idle:
            process = self._idle.pop()
            if process.is_usable:
                return process
            process.close()
        options = ["-I", "-S", "-B", "-X", "utf8", "-c", _START]
        command = [sys.executable, *options, self._ocr_program, os.pathsep.join(_import_path())]
        return Process(command, timeout_s=self._timeout_s)

    def _give_back(self, process: Process) -> None:
        if process.is_usable:
            self._idle.append(process)
            loop = asyncio.get_running_loop()
            self._closing = self._closing or loop.call_later(_IDLE_SECONDS, self._close_idle)
        else:
            process.close()

    def _stop_closing(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    def _close_idle(self) -> None:
        self._closing = None
        while self._idle:
            self._idle.pop().close()


def _supported(declared: str, name: str) -> Format:
    found = format_of(declared, name)
    if found.needs_extra and not has_extra():
        raise ExtractionFailed(FailureReason.EXTRA_MISSING)
    return found


def _import_path() -> list[str]:
    """Return the folders of this package and of the libraries of the extra."""
    folders = {str(Path(chatbot.__file__).parent.parent): None}
    for name in LIBRARIES:
        found = importlib.util.find_spec(name)
        if found is not None and found.origin is not None:
            folders[str(Path(found.origin).parent.parent)] = None
    return list(folders)
