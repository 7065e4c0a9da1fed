"""Reading one file, from the standard input, in the process that exists only for it.

The process limits itself before it looks at the first byte, and writes a framed answer.
"""

import importlib
from collections.abc import Iterator
from typing import BinaryIO

from chatbot.adapters.extraction import confinement, frames, signatures
from chatbot.adapters.extraction.outline import Outline
from chatbot.domain.extraction import FailureReason
from chatbot.domain.passages import MAX_PASSAGES, DocumentPassage, split
from chatbot.domain.ports.extraction import ExtractionFailed

_DAMAGE = (ValueError, LookupError, EOFError, RecursionError, OverflowError)
"""The exceptions that parsers and libraries raise on malformed files."""


def main(reader: str, signature: str, ocr_program: str) -> None:
    """Answer on the standard output.

    Args:
        reader: the function of the format, as `module:function`.
        signature: the bytes with which files of the format start, in hexadecimal digits.
        ocr_program: path of Tesseract, or empty.
    """
    confinement.die_with_parent()
    confinement.confine(ocr_program)
    with open(0, "rb") as file, open(1, "wb") as answer:  # descriptors
        try:
            outline = read(file, reader, bytes.fromhex(signature), ocr_program)
            frames.write_passages(answer, outline.title, _passages(outline))
        except ExtractionFailed as error:
            frames.write_failure(answer, error.reason)
        except MemoryError:
            frames.write_failure(answer, FailureReason.OUT_OF_MEMORY)


def read(stream: BinaryIO, reader: str, signature: bytes = b"", ocr_program: str = "") -> Outline:
    """Return the text of a file.

    Raises:
        ExtractionFailed: whatever is wrong with the file.
    """
    signatures.check(stream, signature, is_archive=signature.startswith(b"PK"))
    module, _, function = reader.partition(":")
    options = {"ocr_program": ocr_program} if module == "pdf" else {}
    outline = Outline()
    try:
        found = importlib.import_module(f"{__package__}.{module}")
        getattr(found, function)(stream, outline, **options)
    except _DAMAGE as error:
        raise ExtractionFailed(FailureReason.DAMAGED) from error
    return outline


def _passages(outline: Outline) -> Iterator[DocumentPassage]:
    for number, passage in enumerate(split(outline.sections())):
        if number == MAX_PASSAGES:
            raise ExtractionFailed(FailureReason.TOO_MANY_PASSAGES)
        yield passage
