"""Text in images of pages, recognized by Tesseract in a process of its own."""

import os
import subprocess
from functools import cached_property

from pypdfium2 import PdfPage

from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed

_DOTS_PER_POINT = 200 / 72
_MOST_PIXELS = 25_000_000
_LANGUAGES = ("spa", "eng")
_ONE_THREAD = {"OMP_THREAD_LIMIT": "1"}


class Recognition:
    """`program` is the path of Tesseract; empty = no text is recognized."""

    def __init__(self, program: str) -> None:
        self._program = program

    def text(self, page: PdfPage) -> str:
        """Return the text in the images of a page.

        Raises:
            ExtractionFailed: the program fails (`CRASHED`).
        """
        if not self._program:
            return ""
        return self._run("stdin", "stdout", *self._languages, image=_image(page))

    @cached_property
    def _languages(self) -> tuple[str, ...]:
        """Options for those languages of ours that are installed; none leaves the choice to it."""
        installed = self._run("--list-langs").split()
        usable = "+".join(language for language in _LANGUAGES if language in installed)
        return ("-l", usable) if usable else ()

    def _run(self, *arguments: str, image: bytes = b"") -> str:
        try:
            done = subprocess.run(  # noqa: S603 # no shell; the operator names the program
                [self._program, *arguments],
                input=image,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | _ONE_THREAD,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise ExtractionFailed(FailureReason.CRASHED) from error
        return done.stdout.decode("utf-8", "replace")


def _image(page: PdfPage) -> bytes:
    """Return the page in shades of grey, as a PGM file."""
    width, height = page.get_size()
    scale = min(_DOTS_PER_POINT, (_MOST_PIXELS / max(1.0, width * height)) ** 0.5)
    bitmap = page.render(scale=scale, grayscale=True)
    rows = bytes(bitmap.buffer)
    packed = b"".join(
        rows[start : start + bitmap.width]
        for start in range(0, bitmap.stride * bitmap.height, bitmap.stride)
    )
    return b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + packed
