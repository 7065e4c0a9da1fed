"""The bytes of a segment: columns of numbers, which are read without a copy.

They are in the byte order of the machine; a segment of one with another order is refused.
"""

import json
import struct
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chatbot.domain.errors import StorageUnavailable

MAX_PASSAGES = 60_000
"""The maximum number in a segment, because numbers have two bytes."""
_MAGIC = 0x31584843
"""`CHX1`"""
_HEADER = struct.Struct("=IIIIIIII")
_BYTES_OF_A_NAME = 60
"""The memory that a name takes besides its letters."""

Numbers = Sequence[int]


class DamagedIndex(StorageUnavailable):
    """A part of the search index cannot be decoded."""

    def __init__(self) -> None:
        super().__init__("The search index is damaged. Fix: run `chatbot reindex`.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The contents of a segment.

    Terms are sorted; `offsets` is where the postings of each begin in `passages` and `counts`.
    Passages are sorted by parent and number; `starts` is where those of each parent begin.
    """

    version: int
    terms: Numbers
    offsets: Numbers
    seqs: Numbers
    starts: Numbers
    passages: Numbers
    lengths: Numbers
    labels: Numbers
    parents_of_term: Numbers
    counts: Numbers
    flags: Numbers
    parents: Sequence[str]
    label_names: Sequence[str]

    @property
    def size(self) -> int:
        """About the bytes that it takes in memory."""
        wide = 8 * len(self.terms) + 4 * (len(self.offsets) + len(self.seqs) + len(self.starts))
        narrow = 2 * (len(self.terms) + len(self.lengths) + len(self.labels)) + len(self.flags)
        return wide + narrow + 3 * len(self.passages) + _BYTES_OF_A_NAME * len(self.parents)


def packed(columns: Columns) -> bytes:
    """Returns the data of a segment, with a checksum."""
    found = [columns.parents, columns.label_names]
    names = json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()
    sizes = (len(columns.terms), len(columns.passages), len(columns.seqs))
    body = b"".join((*_bytes_of(columns), names))
    counts = (*sizes, len(columns.parents), len(names))
    return _HEADER.pack(_MAGIC, columns.version, zlib.crc32(body), *counts) + body


def _bytes_of(columns: Columns) -> Sequence[bytes]:
    return (
        array("Q", columns.terms).tobytes(),
        array("I", columns.offsets).tobytes(),
        array("I", columns.seqs).tobytes(),
        array("I", columns.starts).tobytes(),
        array("H", columns.passages).tobytes(),
        array("H", columns.lengths).tobytes(),
        array("H", columns.labels).tobytes(),
        array("H", columns.parents_of_term).tobytes(),
        bytes(columns.counts),
        bytes(columns.flags),
    )


def unpacked_columns(data: bytes) -> Columns:
    """Returns the columns of a segment.

    Raises:
        DamagedIndex: the data are not those of a segment, or were changed.
    """
    if len(data) < _HEADER.size:
        raise DamagedIndex
    magic, version, checksum, *sizes = _HEADER.unpack_from(data)
    body = memoryview(data)[_HEADER.size :]
    if magic != _MAGIC or zlib.crc32(body) != checksum:
        raise DamagedIndex
    terms, postings, passages, parents, names = sizes
    take = _Reader(body[: len(body) - names]).take
    parent_names, label_names = json.loads(bytes(body[len(body) - names :]))
    return Columns(
        version=version,
        terms=take("Q", terms),
        offsets=take("I", terms + 1),
        seqs=take("I", passages),
        starts=take("I", parents + 1),
        passages=take("H", postings),
        lengths=take("H", passages),
        labels=take("H", passages),
        parents_of_term=take("H", terms),
        counts=take("B", postings),
        flags=take("B", passages),
        parents=parent_names,
        label_names=label_names,
    )


class _Reader:
    """Takes one column after the other."""

    def __init__(self, body: memoryview) -> None:
        self._rest = body

    def take(self, code: Literal["B", "H", "I", "Q"], count: int) -> memoryview:
        size = count * struct.calcsize(code)
        column, self._rest = self._rest[:size].cast(code), self._rest[size:]
        return column
