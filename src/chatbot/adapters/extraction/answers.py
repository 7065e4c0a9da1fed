"""Reading the answer of a child, which is trusted as little as the file."""

import struct
from typing import IO

from chatbot.adapters.extraction.frames import HEAD, LONGEST_LINE, Kind
from chatbot.adapters.extraction.outline import MAX_TEXT_BYTES
from chatbot.domain.extraction import SECTION_SEPARATOR, FailureReason
from chatbot.domain.ports.extraction import Extracted, ExtractionFailed, Section
from chatbot.domain.text import replace_unstorable

_MOST_BYTES = 3 * MAX_TEXT_BYTES
"""Bytes of an answer: a text of many sections repeats its headings."""


def read(stream: IO[bytes], media_type: str) -> Extracted:
    """Return what the child extracted.

    Raises:
        ExtractionFailed: the child reports a reason, or the answer is malformed, incomplete or too
            large (`CRASHED`).
    """
    try:
        return _read(stream, media_type)
    except (ValueError, struct.error) as error:
        raise ExtractionFailed(FailureReason.CRASHED) from error


def _read(stream: IO[bytes], media_type: str) -> Extracted:
    title, heading, position, left = "", "", 0, _MOST_BYTES
    sections: list[Section] = []
    while True:
        kind, text = _frame(stream, left)
        left -= HEAD.size + len(text)
        if kind is Kind.TITLE:
            title = text
        elif kind is Kind.HEADING:
            heading = text
        elif kind is Kind.TEXT:
            end = position + len(text)
            sections.append(Section(heading=heading, text=text, start=position, end=end))
            position = end + len(SECTION_SEPARATOR)
        elif kind is Kind.FAILURE:
            raise ExtractionFailed(FailureReason(text))
        else:
            return _complete(
                stream, Extracted(media_type=media_type, title=title, sections=sections)
            )


def _frame(stream: IO[bytes], left: int) -> tuple[Kind, str]:
    number, length = HEAD.unpack(stream.read(HEAD.size))
    kind = Kind(number)
    if length > (left if kind is Kind.TEXT else min(left, LONGEST_LINE)):
        raise ValueError("a frame is too long")
    return kind, replace_unstorable(stream.read(length).decode("utf-8"))


def _complete(stream: IO[bytes], extracted: Extracted) -> Extracted:
    if stream.read(1):
        raise ValueError("bytes follow the last frame")
    if not any(section.text.strip() for section in extracted.sections):
        raise ExtractionFailed(FailureReason.NO_TEXT)
    return extracted
