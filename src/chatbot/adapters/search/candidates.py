"""The exact best matching passages by their own words, without scanning all postings.

Rarest words come first. As soon as a passage without the words seen so far can no longer be among the
best, the other words are only looked up for the passages that still can.
"""

import heapq
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from chatbot.adapters.search.segments import Postings, Segment
from chatbot.adapters.search.statistics import Place
from chatbot.adapters.search.weighting import Formula, Word

_TIE = 1e-9
"""Scores that differ by less are equal."""
_DIGITS = 9
_WALKED = 500
"""Up to this number, postings are scanned without checking whether that is necessary."""
_LOOKUP_COST = 6
"""A look-up costs as much as scanning this many postings."""

Scores = dict[Place, float]


def best_places(
    words: Sequence[Word],
    segments: Sequence[Segment],
    *,
    wanted: int,
    formula: Formula,
    excluded: Collection[Place] = (),
) -> list[Place]:
    """Returns the `wanted` best passages; of equal ones, the first by parent and number."""
    order = sorted(range(len(words)), key=lambda number: (-words[number].idf, number))
    left = sum(words[number].most for number in order)
    scores: Scores = {}
    is_narrowed = False
    for number in order:
        word = words[number]
        if len(scores) > 2 * wanted and (is_narrowed or _is_long(word)):
            least = _least(scores, wanted)
            if is_narrowed or least > left:
                scores = {place: s for place, s in scores.items() if s + left >= least}
                is_narrowed = True
        if is_narrowed:
            _look_up(word, segments, scores, formula)
        else:
            _walk(word, segments, scores, formula)
            for place in excluded:
                scores.pop(place, None)
        left -= word.most
    return _best(scores, segments, wanted)


def _is_long(word: Word) -> bool:
    return sum(len(each.passages) for each in word.postings.values()) > _WALKED


def _least(scores: Scores, wanted: int) -> float:
    """Returns the least score of the best, a little lower so that none that is equal is lost."""
    return heapq.nlargest(wanted, scores.values())[-1] - _TIE


def _walk(word: Word, segments: Sequence[Segment], scores: Scores, formula: Formula) -> None:
    """Add the weight of a word to the scores of all passages that have it."""
    get, most, base, slope = scores.get, word.most, formula.base, formula.slope
    for number, postings in word.postings.items():
        lengths, first = segments[number].lengths, number << 16
        for passage, count in zip(postings.passages, postings.counts, strict=True):
            place = first | passage
            weight = most * count / (count + base + slope * lengths[passage])
            scores[place] = get(place, 0.0) + weight


def _look_up(word: Word, segments: Sequence[Segment], scores: Scores, formula: Formula) -> None:
    """Add the weight of a word to the scores of the passages that have one already."""
    for place, weight in weights_at(word, segments, by_segment(scores), formula):
        scores[place] += weight


def by_segment(places: Iterable[Place]) -> dict[int, set[int]]:
    """Returns passages by the number of their segment."""
    passages: defaultdict[int, set[int]] = defaultdict(set)
    for place in places:
        passages[place >> 16].add(place & 0xFFFF)
    return passages


def weights_at(
    word: Word, segments: Sequence[Segment], passages: dict[int, set[int]], formula: Formula
) -> Iterable[tuple[Place, float]]:
    """Yields the weight of a word in those of the passages that have it."""
    most, base, slope = word.most, formula.base, formula.slope
    for number, wanted in passages.items():
        postings = word.postings.get(number)
        if postings is None:
            continue
        lengths, first = segments[number].lengths, number << 16
        for passage, count in _counts_at(postings, wanted):
            weight = most * count / (count + base + slope * lengths[passage])
            yield first | passage, weight


def _counts_at(postings: Postings, wanted: set[int]) -> Iterable[tuple[int, int]]:
    passages, counts = postings.passages, postings.counts
    if len(passages) < _LOOKUP_COST * len(wanted):
        return [(p, count) for p, count in zip(passages, counts, strict=True) if p in wanted]
    end, found = len(passages), []
    for passage in wanted:
        at = bisect_left(passages, passage)
        if at < end and passages[at] == passage:
            found.append((passage, counts[at]))
    return found


def _best(scores: Scores, segments: Sequence[Segment], wanted: int) -> list[Place]:
    least = _least(scores, wanted) if len(scores) > wanted else 0.0
    best = heapq.nsmallest(
        wanted,
        (
            (-round(score, _DIGITS), *identity(segments, place), place)
            for place, score in scores.items()
            if score >= least
        ),
    )
    return [place for *_, place in best]


def identity(segments: Sequence[Segment], place: Place) -> tuple[str, int]:
    """Returns the parent and the number of a passage."""
    segment, passage = segments[place >> 16], place & 0xFFFF
    return segment.parents[segment.parent_of(passage)], segment.seqs[passage]
