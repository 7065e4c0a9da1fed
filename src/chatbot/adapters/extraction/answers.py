"""Reading the answer of a process that reads files, which is trusted as little as the file."""

import struct
from typing import IO

from chatbot.adapters.extraction.frames import HEAD, LONGEST_LINE, Kind
from chatbot.adapters.extraction.outline import MAX_TEXT_BYTES
from chatbot.domain.extraction import FailureReason
from chatbot.domain.passages import LONGEST, MAX_PASSAGES, DocumentPassage
from chatbot.domain.ports.extraction import Extracted, ExtractionFailed
from chatbot.domain.text import replace_unstorable

_MOST_BYTES = 3 * MAX_TEXT_BYTES
"""Bytes of an answer: a text of many sections repeats its headings."""
_LONGEST_PASSAGE = 4 * LONGEST
"""Bytes of one with the longest characters."""


def read(stream: IO[bytes], media_type: str) -> Extracted:
    """Return what was extracted.

    Raises:
        ExtractionFailed: the answer is a reason, or it is malformed, incomplete or too large
            (`CRASHED`).
    """
    try:
        return _read(stream, media_type)
    except (ValueError, struct.error) as error:
        raise ExtractionFailed(FailureReason.CRASHED) from error


def _read(stream: IO[bytes], media_type: str) -> Extracted:
    title, heading, position, left = "", "", 0, _MOST_BYTES
    passages: list[DocumentPassage] = []
    while True:
        kind, text, start = _frame(stream, left)
        left -= HEAD.size + len(text)
        if kind is Kind.TITLE:
            title = text
        elif kind is Kind.HEADING:
            heading = text
        elif kind is Kind.PASSAGE:
            passage = _passage(heading, text, start, position)
            passages.append(passage)
            position = passage.end
            _require(len(passages) <= MAX_PASSAGES, "there are too many passages")
        elif kind is Kind.FAILURE:
            raise ExtractionFailed(FailureReason(text))
        else:
            return _complete(
                stream, Extracted(media_type=media_type, title=title, passages=passages)
            )


def _frame(stream: IO[bytes], left: int) -> tuple[Kind, str, int]:
    number, length, start = HEAD.unpack(stream.read(HEAD.size))
    kind = Kind(number)
    longest = _LONGEST_PASSAGE if kind is Kind.PASSAGE else LONGEST_LINE
    _require(length <= min(left, longest), "a frame is too long")
    return kind, replace_unstorable(stream.read(length).decode("utf-8")), start


def _passage(heading: str, text: str, start: int, position: int) -> DocumentPassage:
    end = start + len(text)
    _require(position <= start < end <= MAX_TEXT_BYTES, "a passage is not where it can be")
    return DocumentPassage(heading=heading, text=text, start=start, end=end)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _complete(stream: IO[bytes], extracted: Extracted) -> Extracted:
    _require(not stream.read(1), "bytes follow the last frame")
    if not extracted.passages:
        raise ExtractionFailed(FailureReason.NO_TEXT)
    return extracted
