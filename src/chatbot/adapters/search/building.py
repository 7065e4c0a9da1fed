"""Builds segments: of the records of a tail, and of other segments."""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain, groupby, pairwise
from typing import NamedTuple

from chatbot.adapters.search.packing import Columns, packed
from chatbot.adapters.search.records import Record
from chatbot.adapters.search.segments import Segment

_Postings = dict[int, "array[int]"]
"""For each term numbers of passages and counts, `passage << 8 | count`."""


_REMOVED = 0xFFFFFF
"""The place of a removed passage."""


class _Row(NamedTuple):
    """A passage of the new segment, in the order of the segment."""

    parent: str
    seq: int
    length: int
    flags: int
    label: str


def segment_of(records: Sequence[tuple[str, int, Record]]) -> bytes:
    """Returns the data of a segment of records, each with its parent and its number."""
    ordered = sorted(records, key=lambda row: row[:2])
    postings: _Postings = {}
    for passage, (_, _, record) in enumerate(ordered):
        for term, count in zip(record.terms, record.counts, strict=True):
            pair = passage << 8 | count
            if (found := postings.get(term)) is None:
                postings[term] = array("I", (pair,))
            else:
                found.append(pair)
    rows = [_Row(p, seq, each.length, each.flags, each.label) for p, seq, each in ordered]
    return _packed(rows, postings, min(record.version for _, _, record in ordered))


def merged(segments: Sequence[Segment]) -> bytes:
    """Returns the data of one segment with all passages that are not removed.

    If none is left, it has none.
    """
    placed = sorted(
        (row, number, passage)
        for number, segment in enumerate(segments)
        for passage, row in _rows_of(segment)
    )
    places = [[_REMOVED] * segment.count for segment in segments]
    for place, (_, number, passage) in enumerate(placed):
        places[number][passage] = place
    postings: _Postings = {}
    for segment, place_of in zip(segments, places, strict=True):
        _add(postings, segment, place_of)
    if len(segments) > 1:
        for term, each in postings.items():
            if len(each) > 1:
                postings[term] = array("I", sorted(each))
    version = min(segment.version for segment in segments)
    return _packed([row for row, _, _ in placed], postings, version)


def _rows_of(segment: Segment) -> Iterable[tuple[int, _Row]]:
    """Returns the passages that are not removed, by their number."""
    for number, parent in enumerate(segment.parents):
        for x in range(segment.starts[number], segment.starts[number + 1]):
            if not segment.is_dead(x):
                label = segment.label_names[segment.labels[x]]
                yield x, _Row(parent, segment.seqs[x], segment.lengths[x], segment.flags[x], label)


def _add(postings: _Postings, segment: Segment, place_of: Sequence[int]) -> None:
    """Adds the postings of a segment, whose passages are in these places of the new one."""
    pairs = zip(segment.all_passages, segment.all_counts, strict=True)
    placed = array("I", [place_of[passage] << 8 | count for passage, count in pairs])
    for term, (a, z) in zip(segment.terms, pairwise(segment.offsets), strict=True):
        added = placed[a:z]
        if segment.live is not None:
            added = array("I", [pair for pair in added if pair >> 8 != _REMOVED])
        if (found := postings.get(term)) is not None:
            found.extend(added)
        elif added:
            postings[term] = added


def _packed(rows: Sequence[_Row], postings: Mapping[int, Sequence[int]], version: int) -> bytes:
    parents = {parent: len(list(group)) for parent, group in groupby(rows, key=lambda row: row[0])}
    labels = {label: n for n, label in enumerate(dict.fromkeys(["", *(r.label for r in rows)]))}
    terms = sorted(postings)
    flat = array("I", chain.from_iterable(postings[term] for term in terms))
    columns = Columns(
        version=version,
        terms=terms,
        offsets=list(accumulate((len(postings[term]) for term in terms), initial=0)),
        seqs=[row.seq for row in rows],
        starts=list(accumulate(parents.values(), initial=0)),
        passages=array("H", (pair >> 8 for pair in flat)),
        lengths=[row.length for row in rows],
        labels=[labels[row.label] for row in rows],
        parents_of_term=array("H", _parents_with(terms, postings, parents)),
        counts=bytes(pair & 0xFF for pair in flat),
        flags=[row.flags for row in rows],
        parents=list(parents),
        label_names=list(labels),
    )
    return packed(columns)


def _parents_with(
    terms: Iterable[int], postings: Mapping[int, Sequence[int]], parents: Mapping[str, int]
) -> Iterable[int]:
    """Returns for each term the number of parents with it."""
    parent_of = [n for n, passages in enumerate(parents.values()) for _ in range(passages)]
    for each in map(postings.__getitem__, terms):
        yield len({parent_of[pair >> 8] for pair in each}) if len(each) > 1 else 1
