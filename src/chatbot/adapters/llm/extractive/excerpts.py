"""Splits the text of a passage into what can be quoted: its sentences, items and the rows of its tables."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_MOST_CHARS = 400
_LEAST_WORDS = 3
_HEADING_CHARS = 80
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')»”]*\s+")
_ABBREVIATION = re.compile(
    r"(?:\A\d{1,3}|(?:^|[\s(])(?:[a-z]|sra?|dra?|mrs?|ms|st|art|núm|nº|pág|tel|ext|aprox|approx|p\.ej|e\.g|i\.e|etc|no))\.\Z",
    re.IGNORECASE,
)
_BULLET = re.compile(r"\s*(?:[-*+\u2022\u2013]\s+|\d{1,3}[.)]\s+)")
_MARKS = re.compile(r"\*\*|__|`+")
_LINK = re.compile(r"!?\[([^\]\n]{0,200})\]\(([^)\s]{0,300})\)")
_RULE = re.compile(r":?-{3,}:?")
_LABEL = re.compile(r"[^.!?:]{2,60}: ")
_FIGURE = re.compile(r"\d")
_INDIRECT = re.compile(
    r"(?:How|Qué|Cómo|Cuánt[oa]s?|Cuándo|Dónde|Quién(?:es)?)\b(?! (?:to|about)\b)"
)
"""What begins so says what a text is about, and no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A sentence, an item of a list, or a row of a table.

    `heading` is the line above its paragraph, if that is a heading. Excerpts of one paragraph have the
    same `paragraph`. `cells` are the names and values of a row; a name may be empty.
    """

    text: str
    paragraph: int
    heading: str = ""
    cells: tuple[tuple[str, str], ...] = field(default=())

    @property
    def is_quotable(self) -> bool:
        """Whether it says something by itself: it is neither a question nor a fragment."""
        words = len(self.text.split())
        if self.text.endswith("?") or _INDIRECT.match(self.text):
            return False
        return words >= _LEAST_WORDS or (words > 1 and _FIGURE.search(self.text) is not None)

    @property
    def subject(self) -> str:
        """What it begins with, if that is what it is about: a first cell, or a label as in `Error 809: ...`."""
        if self.cells:
            return self.cells[0][1]
        label = _LABEL.match(self.text)
        return label[0] if label else ""


def excerpts_of(text: str) -> Iterator[Excerpt]:
    """Yield the excerpts of a passage in their order."""
    number, heading = 0, ""
    for block in re.split(r"\n\s*\n", text):
        lines = _joined([line for line in block.split("\n") if line.strip()])
        if lines and _is_heading(lines):
            heading, lines = _plain(lines[0]), lines[1:]
        if rows := _rows(lines):
            for row in rows:
                number += 1
                yield Excerpt(text=_row_text(row), paragraph=number, heading=heading, cells=row)
            continue
        for line in lines:
            number += 1
            for sentence in _sentences(_plain(line)):
                yield Excerpt(text=sentence, paragraph=number, heading=heading)


def _joined(lines: Sequence[str]) -> list[str]:
    """The lines, with those joined that are one sentence broken at the margin."""
    found: list[str] = []
    for line in lines:
        goes_on = bool(found) and line.lstrip()[:1].islower() and "|" not in line + found[-1]
        if goes_on and not found[-1].rstrip().endswith((".", "!", "?", ":")):
            found[-1] = f"{found[-1].rstrip()} {line.strip()}"
        else:
            found.append(line)
    return found


def _is_heading(lines: Sequence[str]) -> bool:
    """Whether the first line names what follows: it is short and no sentence, item or row."""
    first = lines[0].strip()
    is_short = len(first) <= _HEADING_CHARS and "|" not in first
    is_sentence = first.endswith((".", "!", "?", "…", ",", ";", ":")) or ": " in first
    is_item = _BULLET.match(lines[0]) is not None and not re.match(r"\d", first)
    return is_short and not is_sentence and not is_item


def _rows(lines: Sequence[str]) -> Sequence[tuple[tuple[str, str], ...]]:
    """The rows of a table with the names of their columns; nothing if the lines are no table."""
    if not lines or sum("|" in line for line in lines) < max(1, len(lines)):
        return ()
    cells = [_cells(line) for line in lines]
    marked = len(cells) > 1 and _is_rule(cells[1])
    cells = [row for row in cells if not _is_rule(row)]
    if all(": " in cell or not cell for row in cells for cell in row):  # they have their names
        return [tuple(_named(cell) for cell in row if cell) for row in cells]
    if len(cells) > 1 and (marked or _names_columns(cells)):
        names, *cells = cells
        names = names + [""] * max(map(len, cells))
        return [tuple((n, v) for n, v in zip(names, row, strict=False) if v) for row in cells]
    return [tuple(("", cell) for cell in row if cell) for row in cells]


def _cells(line: str) -> list[str]:
    stripped = line.strip()
    stripped = (
        stripped.removeprefix("|").removesuffix("|") if stripped.startswith("|") else stripped
    )
    return [_plain(cell) for cell in stripped.split("|")]


def _is_rule(cells: Sequence[str]) -> bool:
    """Whether it is the line that Markdown has below the names of the columns."""
    return all(_RULE.fullmatch(cell) for cell in cells)


def _named(cell: str) -> tuple[str, str]:
    name, _, value = cell.partition(": ")
    return name, value


def _names_columns(cells: Sequence[Sequence[str]]) -> bool:
    """Whether the first row has no figures, and stands above a column where all others have one."""
    first, others = cells[0], cells[1:]
    if any(_FIGURE.search(cell) for cell in first) or not all(first):
        return False
    columns = range(min(map(len, cells)))
    return any(all(_FIGURE.search(row[at]) for row in others) for at in columns)


def _row_text(row: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"{name}: {value}" if name else value for name, value in row)


def _plain(text: str) -> str:
    """The text without the marks of a list and of Markdown."""
    text = _BULLET.sub("", text, count=1) if _BULLET.match(text) else text
    return _MARKS.sub("", _LINK.sub(r"\1 (\2)", text)).strip()


def _sentences(line: str) -> Iterator[str]:
    start = 0
    for found in _SENTENCE_END.finditer(line):
        following = line[found.end() : found.end() + 1]
        if following.islower() or _ABBREVIATION.search(line[: found.start()][-12:]):
            continue
        yield line[start : found.start()].strip()[:_MOST_CHARS]
        start = found.end()
    if rest := line[start:].strip():
        yield rest[:_MOST_CHARS]
