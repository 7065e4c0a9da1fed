"""Extraction in a process of its own for each file."""

import asyncio
import importlib.util
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import chatbot
from chatbot.adapters.extraction import answers
from chatbot.adapters.extraction.child_process import ChildProcess
from chatbot.adapters.extraction.formats import LIBRARIES, Format, format_of, has_extra
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import Extracted, ExtractionFailed, Extractor

_WALL_SECONDS = 60.0
_START = (
    "import sys; sys.path.extend(sys.argv[4:]); "
    "from chatbot.adapters.extraction.child import main; main(*sys.argv[1:4])"
)


class SubprocessExtractor(Extractor):
    """Starts a Python for each file, without the environment of the service and with limits."""

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

    def media_type_of(self, declared: str, name: str) -> str:
        return _supported(declared, name).media_type

    async def extract(self, path: Path, media_type: str, name: str) -> Extracted:
        expected = _supported(media_type, name)
        child = ChildProcess(timeout_s=self._timeout_s)
        reading = asyncio.ensure_future(asyncio.to_thread(self._extract, path, expected, child))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            child.kill()
            with suppress(ExtractionFailed):
                await reading
            raise

    def _extract(self, path: Path, expected: Format, child: ChildProcess) -> Extracted:
        if path.stat().st_size > self._max_bytes:
            raise ExtractionFailed(FailureReason.FILE_TOO_LARGE)
        read = partial(answers.read, media_type=expected.media_type)
        with path.open("rb") as file:
            return child.run(self._command(expected), file.fileno(), read)

    def _command(self, expected: Format) -> list[str]:
        options = ["-I", "-S", "-B", "-X", "utf8", "-c", _START]
        format_ = [expected.reader, expected.signature.hex()]
        return [sys.executable, *options, *format_, self._ocr_program, *_import_path()]


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
