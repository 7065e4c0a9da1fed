"""The texts of pages, without repeated headers and footers, and with whole sentences."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

_FEWEST_PAGES = 4
"""A document with fewer has no repetition worth of the name."""
_EDGE_LINES = 2
_LONGEST_MARGIN = 150
_LONGEST_REST = 400
_SENTENCE_END = re.compile(r"[.!?:\u2026\u061f\u06d4\u3002][\"')\]\u201d\u2019\u00bb]*(?:\s+|\Z)")


def joined(texts: Sequence[str]) -> Iterator[str]:
    """Yield the text of each page; a sentence that continues on the next page is moved there."""
    rest = ""
    pages = [_lines(text) for text in texts]
    margins = _margins(pages)
    for index, lines in enumerate(pages):
        text = f"{rest} {chr(10).join(_without(lines, margins))}".strip()
        rest = _unfinished(text) if index + 1 < len(pages) and pages[index + 1] else ""
        yield text.removesuffix(rest).rstrip() if rest else text


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _margins(pages: Sequence[list[str]]) -> frozenset[str]:
    """Return the first and last lines that more than half of the pages have, but for their digits."""
    if len(pages) < _FEWEST_PAGES:
        return frozenset()
    counts = Counter(line for lines in pages for line in _edges(lines))
    return frozenset(line for line, count in counts.items() if 2 * count > len(pages))


def _edges(lines: Sequence[str]) -> set[str]:
    edges = [*lines[:_EDGE_LINES], *lines[-_EDGE_LINES:]]
    return {_shape(line) for line in edges if len(line) <= _LONGEST_MARGIN}


def _shape(line: str) -> str:
    return re.sub(r"\d+", "0", line)


def _without(lines: list[str], margins: frozenset[str]) -> list[str]:
    """Return the lines of a page without its margins; a page of nothing else keeps them."""
    start, end = 0, len(lines)
    while start < min(_EDGE_LINES, end) and _shape(lines[start]) in margins:
        start += 1
    while end > max(start, len(lines) - _EDGE_LINES) and _shape(lines[end - 1]) in margins:
        end -= 1
    return lines[start:end] or lines


def _unfinished(text: str) -> str:
    """Return the beginning of a sentence at the end of the text, if it is short."""
    start = max(0, len(text) - _LONGEST_REST)
    ends = [found.end() for found in _SENTENCE_END.finditer(text, start)]
    return text[ends[-1] :] if ends else ""
