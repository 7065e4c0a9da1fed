"""The text of a file while it is read: paragraphs, tables and lists under their headings."""

import re
from collections.abc import Iterator, Sequence

from chatbot.domain.extraction import HEADING_SEPARATOR, SECTION_SEPARATOR, FailureReason
from chatbot.domain.passages import Section
from chatbot.domain.ports.extraction import ExtractionFailed

MAX_TEXT_BYTES = 50 * 1024 * 1024
"""Bytes of the extracted text in UTF-8."""
_CELL_SEPARATOR = " | "
_LONGEST_HEADING = 200
_LONGEST_PATH = 500
_BLANKS = re.compile(r"\s+")


class Outline:
    """Collects the text of a file.

    All methods raise `ExtractionFailed` (`TOO_MUCH_TEXT`) when the limit is exceeded.
    """

    def __init__(self) -> None:
        self.title = ""
        self._done: list[tuple[str, str]] = []
        self._path: list[tuple[int, str]] = []
        self._is_repeated = False
        self._blocks: list[str] = []
        self._lines: list[str] = []
        self._bytes = 0

    def heading(self, level: int, text: str, *, is_repeated: bool = False) -> None:
        """Start a section below the last heading of a smaller level.

        A heading without text, and without headings below, is a text itself, unless it `is_repeated`:
        another text contains it.
        """
        text = one_line(text)[:_LONGEST_HEADING]
        if not text:
            return
        self._end_section(next_level=level)
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, text))
        self._is_repeated = is_repeated
        self._count(text)

    def paragraph(self, text: str) -> None:
        """Add a paragraph; line ends in it are kept."""
        text = text.strip()
        if text:
            self._end_lines()
            self._blocks.append(text)
            self._count(text)

    def row(self, cells: Sequence[str]) -> None:
        """Add a row; consecutive rows are one table."""
        texts = [one_line(cell) for cell in cells]
        if any(texts):
            self._line(_CELL_SEPARATOR.join(texts) if len(texts) > 1 else f"- {texts[0]}")

    def item(self, text: str, *, depth: int = 0) -> None:
        """Add an item; consecutive items are one list."""
        text = one_line(text)
        if text:
            self._line(f"{'  ' * min(depth, 8)}- {text}")

    def end_rows(self) -> None:
        """End a table or a list: the next row starts another one."""
        self._end_lines()

    def sections(self) -> Iterator[Section]:
        """Yield the sections that have text."""
        self._end_section(next_level=0)
        start = 0
        for heading, text in self._done:
            yield Section(heading=heading, text=text, start=start)
            start += len(text) + len(SECTION_SEPARATOR)

    def _line(self, line: str) -> None:
        self._lines.append(line)
        self._count(line)

    def _count(self, text: str) -> None:
        self._bytes += len(text.encode("utf-8", "surrogatepass")) + 2
        if self._bytes > MAX_TEXT_BYTES:
            raise ExtractionFailed(FailureReason.TOO_MUCH_TEXT)

    def _end_lines(self) -> None:
        if self._lines:
            self._blocks.append("\n".join(self._lines))
            self._lines = []

    def _end_section(self, *, next_level: int) -> None:
        """Keep the section, if it has text."""
        self._end_lines()
        is_alone = bool(self._path) and next_level <= self._path[-1][0] and not self._is_repeated
        if not self._blocks and is_alone:
            self._blocks.append(self._path[-1][1])
        if self._blocks:
            path = HEADING_SEPARATOR.join(text for _, text in self._path)
            self._done.append((path[:_LONGEST_PATH], "\n\n".join(self._blocks)))
            self._blocks = []


def one_line(text: str) -> str:
    """Return the text with each run of white space as one blank."""
    return _BLANKS.sub(" ", text).strip()
