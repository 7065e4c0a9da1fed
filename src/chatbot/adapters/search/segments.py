"""Decoded segments of the index: the data of terms, passages and parents."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import compress, pairwise
from operator import mul
from typing import NamedTuple, Self

from chatbot.adapters.search.packing import Columns, unpacked_columns


class Postings(NamedTuple):
    """The postings of a term: passages and counts, by the number of the passage."""

    passages: Sequence[int]
    counts: Sequence[int]
    parents: int
    """The number of parents with the term."""

    def count_in(self, start: int, end: int) -> int:
        """Returns how often the term is in the passages from `start` to before `end`."""
        first = bisect_left(self.passages, start)
        if first == len(self.passages) or self.passages[first] >= end:
            return 0
        return sum(self.counts[first : bisect_left(self.passages, end, first)])


class Segment:
    """The columns of a segment. `dead` are the numbers of removed passages, two bytes each.

    `live` has a 1 for each passage that is not removed, 0 for the others; it is None if none is.
    """

    def __init__(self, columns: Columns, dead: bytes = b"") -> None:
        self._columns, self.dead = columns, dead
        self.version, self.size, self.count = columns.version, columns.size, len(columns.seqs)
        self.terms, self.seqs, self.starts = columns.terms, columns.seqs, columns.starts
        self.offsets, self.all_passages = columns.offsets, columns.passages
        self.all_counts = columns.counts
        self.lengths, self.labels, self.flags = columns.lengths, columns.labels, columns.flags
        self.parents, self.label_names = columns.parents, columns.label_names
        self.live = _live(self.count, dead) if dead else None

    @classmethod
    def decoded(cls, data: bytes, dead: bytes = b"") -> Self:
        """Returns the segment with these data.

        Raises:
            DamagedIndex: the data are not those of a segment.
        """
        return cls(unpacked_columns(data), dead)

    def without(self, dead: bytes) -> "Segment":
        """Returns the same segment with other removed passages."""
        return Segment(self._columns, dead)

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
        if len(found) > 1:
            return self._counted(_united([self.columns_of(number) for number in found]))
        columns = self.columns_of(found[0])
        if self.live is not None:
            return self._counted(columns)
        return Postings(*columns, self._columns.parents_of_term[found[0]])

    def columns_of(self, number: int) -> tuple[Sequence[int], Sequence[int]]:
        """Returns the passages and the counts of a term by its number, removed ones included."""
        a, z = self.offsets[number], self.offsets[number + 1]
        return self.all_passages[a:z], self.all_counts[a:z]

    def _find(self, term: int) -> int | None:
        number = bisect_left(self.terms, term)
        return number if number < len(self.terms) and self.terms[number] == term else None

    def _counted(self, columns: tuple[Sequence[int], Sequence[int]]) -> Postings | None:
        """Returns postings without removed passages, if there are any."""
        passages, counts = columns
        if self.live is not None:
            is_live = list(map(self.live.__getitem__, passages))
            passages, counts = [list(compress(column, is_live)) for column in columns]
        if not passages:
            return None
        parents = len(set(map(self._parent_of_each.__getitem__, passages)))
        return Postings(passages, counts, parents)

    @cached_property
    def _parent_of_each(self) -> "array[int]":
        """The number of each passage's parent."""
        numbers = array("H")
        for number, (a, z) in enumerate(pairwise(self.starts)):
            numbers.extend([number] * (z - a))
        return numbers


def _united(
    several: Iterable[tuple[Sequence[int], Sequence[int]]],
) -> tuple[Sequence[int], Sequence[int]]:
    """Returns the union of postings, each passage with its highest count."""
    highest: dict[int, int] = {}
    for passages, counts in several:
        for passage, count in zip(passages, counts, strict=True):
            highest[passage] = max(count, highest.get(passage, 0))
    united = sorted(highest)
    return united, [highest[passage] for passage in united]


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
