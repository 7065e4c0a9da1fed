"""Immutable segments of the index: packed postings of up to 60,000 passages, read without a copy."""

import json
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, pairwise
from operator import mul
from typing import Literal, NamedTuple

MAX_PASSAGES = 60_000
_MAGIC = 0x31584843
"""`CHX1`, in the byte order of the machine: a segment of one with another order is refused."""
_HEADER = struct.Struct("=IIIIIII")


class Postings(NamedTuple):
    """In which passages a term is, and how often, by the number of the passage."""

    passages: Sequence[int]
    counts: Sequence[int]
    parents: int
    """The number of parents with the term."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What a segment is made of, each a sequence of numbers.

    Terms are sorted; `offsets` say where the postings of each begin. Passages are sorted by parent
    and number; `starts` say where those of each parent begin.
    """

    terms: "array[int]"
    offsets: "array[int]"
    seqs: "array[int]"
    starts: "array[int]"
    passages: "array[int]"
    lengths: "array[int]"
    labels: "array[int]"
    parents: "array[int]"
    counts: bytes
    flags: bytes

    def packed(self, version: int, parents: list[str], labels: list[str]) -> bytes:
        names = json.dumps([parents, labels], separators=(",", ":"), ensure_ascii=False).encode()
        sizes = (len(self.terms), len(self.passages), len(self.seqs), len(parents), len(names))
        wide = (self.terms, self.offsets, self.seqs, self.starts)
        narrow = (self.passages, self.lengths, self.labels, self.parents)
        return b"".join(
            (
                _HEADER.pack(_MAGIC, version, *sizes),
                *(column.tobytes() for column in (*wide, *narrow)),
                self.counts,
                self.flags,
                names,
            )
        )


class ForeignSegment(ValueError):
    """The data is not a segment, or one of a machine with another byte order."""


class Segment:
    """A decoded segment. `dead` are the numbers of removed passages, two bytes each."""

    def __init__(self, data: bytes, dead: bytes = b"") -> None:
        magic, self.version, terms, postings, count, parents, names = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise ForeignSegment("Not a segment of the search index.")
        column = _Reader(data)
        self.terms = column.take("Q", terms)
        self._offsets = column.take("I", terms + 1)
        self.seqs = column.take("I", count)
        self.starts = column.take("I", parents + 1)
        self._passages = column.take("H", postings)
        self.lengths = column.take("H", count)
        self.labels = column.take("H", count)
        self._parents = column.take("H", terms)
        self._counts = column.take("B", postings)
        self.flags = column.take("B", count)
        self.parents, self.label_names = json.loads(bytes(column.take("B", names)))
        self.count, self.size = count, len(data)
        self.live = _live(count, dead) if dead else None
        """A 1 for each passage that is not removed, 0 for the others; None if none is removed."""

    @cached_property
    def live_count(self) -> int:
        return self.count if self.live is None else sum(self.live)

    @cached_property
    def parent_lengths(self) -> "array[int]":
        """The terms of each parent's passages, in sum."""
        live = self.lengths if self.live is None else map(mul, self.lengths, self.live)
        lengths = array("H", live)
        return array("I", (sum(lengths[a:z]) for a, z in pairwise(self.starts)))

    @cached_property
    def parents_with_terms(self) -> int:
        return sum(map(bool, self.parent_lengths))

    @cached_property
    def speakers(self) -> frozenset[str]:
        """The labels of its passages."""
        used = self.labels if self.live is None else compress(self.labels, self.live)
        return frozenset(self.label_names[label] for label in set(used)) - {""}

    @cached_property
    def parent_numbers(self) -> dict[str, int]:
        """The number of each parent."""
        return {parent: number for number, parent in enumerate(self.parents)}

    def parent_of(self, passage: int) -> int:
        """Returns the number of the passage's parent."""
        return bisect_right(self.starts, passage) - 1

    def passage_at(self, parent: int, seq: int) -> int | None:
        """Returns the passage with this number in its parent, unless it is removed."""
        end = self.starts[parent + 1]
        found = bisect_left(self.seqs, seq, self.starts[parent], end)
        if found == end or self.seqs[found] != seq or self.is_dead(found):
            return None
        return found

    def is_dead(self, passage: int) -> bool:
        return self.live is not None and not self.live[passage]

    def postings(self, terms: Sequence[int]) -> Postings | None:
        """Returns the passages with one of the terms, each with the highest of their counts."""
        found = [number for term in terms if (number := self._find(term)) is not None]
        if not found:
            return None
        if len(found) == 1 and self.live is None:
            return Postings(*self.columns_of(found[0]), self._parents[found[0]])
        return self._united([self.columns_of(number) for number in found])

    def columns_of(self, number: int) -> tuple[memoryview, memoryview]:
        """Returns the passages and the counts of a term by its number, removed ones included."""
        a, z = self._offsets[number], self._offsets[number + 1]
        return self._passages[a:z], self._counts[a:z]

    def _find(self, term: int) -> int | None:
        number = bisect_left(self.terms, term)
        return number if number < len(self.terms) and self.terms[number] == term else None

    def _united(self, columns: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Postings | None:
        """Returns the union of postings, without removed passages."""
        highest: dict[int, int] = {}
        for passages, counts in columns:
            for passage, count in zip(passages, counts, strict=True):
                if highest.get(passage, 0) < count and not self.is_dead(passage):
                    highest[passage] = count
        if not highest:
            return None
        passages = sorted(highest)
        parents = len(set(map(self._parent_of_each.__getitem__, passages)))
        return Postings(passages, [highest[passage] for passage in passages], parents)

    @cached_property
    def _parent_of_each(self) -> "array[int]":
        """The number of each passage's parent."""
        numbers = array("H")
        for number, (a, z) in enumerate(pairwise(self.starts)):
            numbers.extend([number] * (z - a))
        return numbers


class _Reader:
    """Takes one column after the other from the data."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)[_HEADER.size :]

    def take(self, code: Literal["B", "H", "I", "Q"], count: int) -> memoryview:
        size = count * struct.calcsize(code)
        column, self._rest = self._rest[:size].cast(code), self._rest[size:]
        return column


def _live(count: int, dead: bytes) -> bytes:
    live = bytearray(b"\1" * count)
    for passage in numbers_of(dead):
        live[passage] = 0
    return bytes(live)


def numbers_of(dead: bytes) -> "array[int]":
    """Returns the numbers of removed passages."""
    numbers = array("H")
    numbers.frombytes(dead)
    return numbers


def packed_numbers(numbers: Iterable[int]) -> bytes:
    """Returns the numbers of removed passages as a segment's head has them."""
    return array("H", sorted(numbers)).tobytes()
