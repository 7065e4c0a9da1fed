"""The answer of a process that reads files: frames of a kind, a length, an offset and UTF-8 text.

`answers` reads them.
"""

import struct
from collections.abc import Iterable
from enum import IntEnum
from io import BufferedIOBase

from chatbot.domain.extraction import FailureReason
from chatbot.domain.passages import DocumentPassage

HEAD = struct.Struct(">BII")
LONGEST_LINE = 4000
"""Bytes of a title or a heading."""


class Kind(IntEnum):
    TITLE = 1
    HEADING = 2
    PASSAGE = 3
    END = 4
    FAILURE = 5


def write_passages(stream: BufferedIOBase, title: str, passages: Iterable[DocumentPassage]) -> None:
    """Write what was extracted: the title and the passages, each heading where it changes."""
    _write(stream, Kind.TITLE, title[: LONGEST_LINE // 4])
    heading = ""
    for passage in passages:
        if passage.heading != heading:
            heading = passage.heading
            _write(stream, Kind.HEADING, heading)
        _write(stream, Kind.PASSAGE, passage.text, start=passage.start)
    _write(stream, Kind.END, "")


def write_failure(stream: BufferedIOBase, reason: FailureReason) -> None:
    """Write why there is no text, also behind parts of one."""
    _write(stream, Kind.FAILURE, reason.value)


def _write(stream: BufferedIOBase, kind: Kind, text: str, *, start: int = 0) -> None:
    payload = text.encode("utf-8", "replace")
    stream.write(HEAD.pack(kind, len(payload), start))
    stream.write(payload)
