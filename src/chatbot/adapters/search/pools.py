"""Groups small segments, so that a caller of thousands of access classes searches few segments.

A search costs some microseconds for each segment. The segments of a group are decoded to one, which
is cached under the ids of its members: only callers who may read all of them use it.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence

from chatbot.adapters.search.folding import live_count
from chatbot.adapters.search.rows import SegmentHead

Group = tuple[SegmentHead, ...]

_SMALL = 512
"""Segments of fewer passages are grouped."""
_FEW = 16
"""Up to this number, small segments are not grouped."""
_PASSAGES = 1024
"""The approximate size of a group, and so the cost of rebuilding it after a change."""


def grouped(heads: Sequence[SegmentHead]) -> Sequence[Group]:
    """Returns groups of segments that are decoded to one; those without passages are left out."""
    heads = [head for head in heads if live_count(head)]
    small = [head for head in heads if head.count < _SMALL]
    if len(small) <= _FEW:
        return [(head,) for head in heads]
    count = _power_of_two(sum(head.count for head in small) // _PASSAGES)
    groups: defaultdict[int, list[SegmentHead]] = defaultdict(list)
    for head in small:
        groups[head.id % count].append(head)
    large = [(head,) for head in heads if head.count >= _SMALL]
    return [*large, *map(tuple, groups.values())]


def key_of(group: Group) -> Hashable:
    """Returns what names the content of a group for good."""
    return tuple((head.id, head.dead) for head in group)


def _power_of_two(least: int) -> int:
    """Returns a number that hardly ever changes, as all groups are made anew when it does."""
    return 1 << least.bit_length()
