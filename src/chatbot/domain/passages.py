"""Splitting the text of a document into passages, which are searched, quoted and cited.

A passage has about 800 to 1,200 characters and ends at the end of a sentence. Tables and lists are
split between their rows only, if at all.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

LONGEST = 1200
"""Characters of a passage at most."""
MAX_PASSAGES = 100_000
"""Of one document."""
_USUAL = 1000
"""Characters of a passage on average, if the text allows it."""
_BLOCK_END = re.compile(r"\n\s*\n")
_ROW = re.compile(
    r"[^\S\n]*(?:[-*+\u2022\u2013\u2014|]|(?:\d{1,4}|[A-Za-z])[.)])\s|.{0,400}?\S[^\S\n]*[|\t]"
)
"""A line of a list or a table."""
_SENTENCE_END = re.compile(
    r"[.!?\u2026\u061f\u06d4][\"')\]\u201d\u2019\u00bb]*\s+|[\u3002\uff01\uff1f]\s*"
)
_LAST_WORD = re.compile(r"[^\s(\[\u00bf\u00a1]*\Z")
_ABBREVIATION = re.compile(
    "apdo|approx|arts?|aprox|avda?|cap|cía|cf|dept|depto|dra?|dto|ej|fig|gral|ing|jr|lic|mrs?|ms|"
    "máx|mín|nro|núms?|págs?|prof|pp|sra?|sres|srta|st|tel|uds?|vol|vs",
    re.IGNORECASE,
)
_LONGEST_WORD = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of an extracted text under one heading.

    `heading` is the path of headings above the text, joined with `HEADING_SEPARATOR`, or empty.
    `start` is its offset in code points in the extracted text, which is the text of all sections
    joined with `SECTION_SEPARATOR`.
    """

    heading: str
    text: str
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPassage:
    """A piece of the extracted text: `text` is what lies between the offsets `start` and `end`."""

    heading: str
    text: str
    start: int
    end: int


def split(sections: Iterable[Section]) -> Iterator[DocumentPassage]:
    """Yield the passages of the text in order. Only white space lies between them.

    No passage extends over two sections.
    """
    for section in sections:
        for start, end in _passages(section.text):
            yield DocumentPassage(
                heading=section.heading,
                text=section.text[start:end],
                start=section.start + start,
                end=section.start + end,
            )


def _passages(text: str) -> Iterator[tuple[int, int]]:
    """Yield the limits of passages of roughly equal length, without white space at their ends."""
    pieces = (piece for block in _blocks(text) for piece in _pieces(text, *block))
    first = next(pieces, None)
    if first is None:
        return
    start, end = first
    last = len(text.rstrip())
    usual = _usual_length(start, last)
    for next_start, next_end in pieces:
        longer = next_end - start
        if longer > LONGEST or longer - usual > usual - (end - start):
            yield start, end
            start = next_start
            usual = _usual_length(start, last)
        end = next_end
    yield start, end


def _usual_length(start: int, end: int) -> float:
    """Return the length of the next passage if all up to the end become equally long."""
    rest = end - start
    return rest / -(-rest // _USUAL) if rest > LONGEST else LONGEST


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yield the limits of the paragraphs, tables and lists, which blank lines separate."""
    start = 0
    for found in _BLOCK_END.finditer(text):
        yield start, found.start()
        start = found.end()
    yield start, len(text)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a block that are never torn, none of which is longer than a passage."""
    block = text[start:end]
    rows = _is_rows(block)
    if rows and len(block.strip()) <= LONGEST:
        ends: Iterable[int] = ()
    elif rows:
        ends = (found.end() for found in re.finditer("\n", block))
    else:
        ends = _sentence_ends(block)
    cuts = (start + offset for offset in ends)
    for first, last in pairwise(chain([start], cuts, [end])):
        first, last = _trimmed(text, first, last)  # noqa: PLW2901 # the limits without white space
        yield from _shortened(text, first, last)


def _is_rows(block: str) -> bool:
    """Whether the block is a table or a list: most of its lines look like a row."""
    lines = rows = 0
    for line in re.finditer(r"[^\n]+", block):
        lines += 1
        rows += _ROW.match(line[0]) is not None
    return lines > 1 and 2 * rows > lines


def _sentence_ends(text: str) -> Iterator[int]:
    """Yield the offsets at which the next sentence starts."""
    for found in _SENTENCE_END.finditer(text):
        following = text[found.end() : found.end() + 1]
        if not following or following.islower():
            continue
        if found[0].startswith(".") and _is_abbreviation(text, found.start()):
            continue
        yield found.end()


def _is_abbreviation(text: str, stop: int) -> bool:
    """Whether the full stop belongs to an abbreviation, an initial or the number of an item."""
    before = text[max(0, stop - _LONGEST_WORD) : stop]
    match = _LAST_WORD.search(before)
    word = match[0] if match else ""
    if len(word) == 1 and word.isalpha():
        return True
    if word.isdecimal():
        return before[: -len(word)].rpartition("\n")[2].strip() == "" and len(word) < _LONGEST_WORD
    return _ABBREVIATION.fullmatch(word) is not None


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    stripped = part.lstrip()
    start += len(part) - len(stripped)
    return start, start + len(stripped.rstrip())


def _shortened(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the piece, cut between words, or within one, where it is longer than a passage."""
    while end - start > LONGEST:
        blank = max(text.rfind(mark, start + LONGEST // 2, start + LONGEST) for mark in " \n\t")
        cut = start + LONGEST if blank < 0 else blank
        yield _trimmed(text, start, cut)
        start, end = _trimmed(text, cut, end)
    if start < end:
        yield start, end
