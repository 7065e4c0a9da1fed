"""CSV: one row a line, each value with the name of its column."""

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import BinaryIO

from chatbot.adapters.extraction.charset import decode
from chatbot.adapters.extraction.outline import Outline, one_line
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50
_LARGEST_FIELD = 1024 * 1024


def read_csv(stream: BinaryIO, outline: Outline) -> None:
    text = decode(stream.read())
    csv.field_size_limit(_LARGEST_FIELD)
    try:
        add_table(csv.reader(io.StringIO(text), delimiter=_delimiter(text)), outline)
    except csv.Error as error:
        raise ExtractionFailed(FailureReason.DAMAGED) from error


def add_table(rows: Iterable[Sequence[str]], outline: Outline) -> None:
    """Add a table. Lines with one value above it are captions; the next row names the columns.

    A table with one row, or with numbers among its names, has no names.
    """
    filled = (row for row in rows if any(map(str.strip, row)))
    first, second = next(filled, None), next(filled, None)
    while first and second and _count(first) == 1 < _count(second):
        outline.paragraph(one_line(" ".join(first)))
        first, second = second, next(filled, None)
    names: Sequence[str] = first if first and second and _are_names(first) else ()
    for row in chain([] if names else [first], [second], filled):
        outline.row(named(names, row or ()))
    outline.end_rows()


def _count(row: Sequence[str]) -> int:
    return sum(1 for value in row if value.strip())


def _are_names(row: Sequence[str]) -> bool:
    values = [value.strip() for value in row if value.strip()]
    return not any(value[0].isdecimal() or value[0] in "+-" for value in values)


def named(names: Sequence[str], row: Sequence[str]) -> list[str]:
    """Return the values with their names, without those that are empty."""
    if not names:
        return _trimmed(row)
    titles = [one_line(name) for name in names[: len(row)]]
    titles += [""] * (len(row) - len(titles))
    pairs = zip(titles, row, strict=True)
    return [f"{name}: {value}" if name else value for name, value in pairs if value.strip()]


def _trimmed(row: Sequence[str]) -> list[str]:
    """Return the row without the empty cells at its end."""
    length = max((place for place, value in enumerate(row, 1) if value.strip()), default=0)
    return list(row[:length])


def _delimiter(text: str) -> str:
    """Return the delimiter that most often occurs equally in the first lines."""
    lines = [line for line in text[:100_000].split("\n")[:_SAMPLE_LINES] if line.strip()]
    return max(_DELIMITERS, key=lambda mark: _agreement(lines, mark))


def _agreement(lines: Sequence[str], mark: str) -> tuple[int, int]:
    """Return how many lines have as many of the delimiter as the first one, and how many it has."""
    count = lines[0].count(mark) if lines else 0
    return (sum(line.count(mark) == count for line in lines) if count else 0), count
