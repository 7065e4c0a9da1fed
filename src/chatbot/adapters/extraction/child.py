"""The program that reads one file, from its standard input, and writes a framed answer.

It is started by `SubprocessExtractor` for each file, and limits itself before it looks at the first
byte.
"""

import importlib
import sys
from typing import IO

from chatbot.adapters.extraction import confinement, frames, signatures
from chatbot.adapters.extraction.formats import BY_TYPE
from chatbot.adapters.extraction.outline import Outline
from chatbot.domain.ports.extraction import ExtractionFailed, FailureReason

_DAMAGE = (ValueError, LookupError, EOFError, RecursionError, OverflowError)
"""What readers and libraries raise on files that nobody has foreseen."""


def main(media_type: str, ocr_program: str) -> None:
    """Answer on the standard output."""
    answer = sys.stdout.buffer
    sys.stdout = sys.stderr  # a library that prints does not spoil the answer
    confinement.confine(ocr_program)
    try:
        outline = read(sys.stdin.buffer, media_type, ocr_program)
        frames.write_text(answer, outline.title, outline.sections())
    except ExtractionFailed as error:
        frames.write_failure(answer, error.reason)
    except MemoryError:
        frames.write_failure(answer, FailureReason.OUT_OF_MEMORY)
    answer.flush()


def read(stream: IO[bytes], media_type: str, ocr_program: str = "") -> Outline:
    """Return the text of a file.

    Raises:
        ExtractionFailed: whatever is wrong with the file.
    """
    expected = BY_TYPE[media_type]
    signatures.check(stream, expected)
    module, _, function = expected.reader.partition(":")
    reader = getattr(importlib.import_module(f"{__package__}.{module}"), function)
    options = {"ocr_program": ocr_program} if module == "pdf" else {}
    outline = Outline()
    try:
        reader(stream, outline, **options)
    except _DAMAGE as error:
        raise ExtractionFailed(FailureReason.DAMAGED) from error
    return outline
