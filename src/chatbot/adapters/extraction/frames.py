"""The answer of the child: frames of a kind, a length and UTF-8 text. `answers` reads them."""

import struct
from collections.abc import Iterable
from enum import IntEnum
from io import BufferedIOBase

from chatbot.domain.extraction import FailureReason

HEAD = struct.Struct(">BI")
LONGEST_LINE = 4000
"""Bytes of a title or a heading."""


class Kind(IntEnum):
    TITLE = 1
    HEADING = 2
    TEXT = 3
    END = 4
    FAILURE = 5


def write_text(stream: BufferedIOBase, title: str, sections: Iterable[tuple[str, str]]) -> None:
    """Write what was extracted: the title, then the heading and the text of each section."""
    _write(stream, Kind.TITLE, title[: LONGEST_LINE // 4])
    for heading, text in sections:
        _write(stream, Kind.HEADING, heading)
        _write(stream, Kind.TEXT, text)
    _write(stream, Kind.END, "")


def write_failure(stream: BufferedIOBase, reason: FailureReason) -> None:
    """Write why there is no text, also behind parts of one."""
    _write(stream, Kind.FAILURE, reason.value)


def _write(stream: BufferedIOBase, kind: Kind, text: str) -> None:
    payload = text.encode("utf-8", "replace")
    stream.write(HEAD.pack(kind, len(payload)))
    stream.write(payload)
