"""The texts of pages, without repeated headers and footers, and with whole sentences."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

Bookmark = tuple[int, str]
"""The level, from 0, and the title."""
_FEWEST_PAGES = 3
"""With the same header or footer."""
_NUMBER_CHARS = 7
"""Of the number of a page, as in `- 0 -`."""
_LETTERS = re.compile(r"[^\W\d_]{2}")
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
        text = f"{rest} {chr(10).join(_without(lines, margins[index]))}".strip()
        rest = _unfinished(text) if index + 1 < len(pages) and pages[index + 1] else ""
        yield text.removesuffix(rest).rstrip() if rest else text


def parted(text: str, bookmarks: Sequence[Bookmark]) -> Iterator[tuple[Sequence[Bookmark], str]]:
    """Yield the parts of a page, each with the bookmarks that lead to its beginning.

    A bookmark leads to the line with its title. Without one it leads to where the bookmark before
    it does, or to the beginning of the page.
    """
    lines = text.split("\n")
    start, headings = 0, list[Bookmark]()
    for bookmark in bookmarks:
        place = next(
            (n for n in range(start, len(lines)) if _is_title(lines[n], bookmark[1])), None
        )
        if place is not None:
            yield headings, "\n".join(lines[start:place]).strip()
            start, headings = place + 1, []
        headings.append(bookmark)
    yield headings, "\n".join(lines[start:]).strip()


def _is_title(line: str, title: str) -> bool:
    """Whether the line is the title, which may have its number only in one of the two."""
    shown, wanted = (" ".join(each.casefold().split()) for each in (line, title))
    is_alike = shown.endswith(f" {wanted}") or wanted.endswith(f" {shown}")
    return shown == wanted or (shown != "" and is_alike and len(shown) < _LONGEST_MARGIN)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _margins(pages: Sequence[list[str]]) -> Sequence[Collection[str]]:
    """Return for each page the first and last lines that it shares with others, but for digits.

    These have it two pages away at most, because the headers of chapters, and of even and odd pages,
    differ.
    """
    edges = [_edges(lines) for lines in pages]
    counts = Counter(line for lines in edges for line in lines)
    repeated = {line for line, count in counts.items() if count >= _FEWEST_PAGES}
    return [
        {line for line in lines & repeated if _is_near(line, edges, index)}
        for index, lines in enumerate(edges)
    ]


def _is_near(line: str, edges: Sequence[Collection[str]], index: int) -> bool:
    near = (*range(max(0, index - 2), index), *range(index + 1, min(len(edges), index + 3)))
    return any(line in edges[other] for other in near)


def _edges(lines: Sequence[str]) -> set[str]:
    """Return what can be a header or footer: rows of a table with nothing but numbers are none."""
    edges = [*lines[:_EDGE_LINES], *lines[-_EDGE_LINES:]]
    shapes = {_shape(line) for line in edges if len(line) <= _LONGEST_MARGIN}
    return {shape for shape in shapes if len(shape) <= _NUMBER_CHARS or re.search(_LETTERS, shape)}


def _shape(line: str) -> str:
    return re.sub(r"\d+", "0", line)


def _without(lines: list[str], margins: Collection[str]) -> list[str]:
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
