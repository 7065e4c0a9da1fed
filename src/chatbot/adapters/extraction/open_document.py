"""OpenDocument texts (odt): what is read on paper."""

from typing import BinaryIO

from chatbot.adapters.extraction.outline import Outline
from chatbot.adapters.extraction.package import Package, title_of
from chatbot.adapters.extraction.xml_events import XmlHandler
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed

_CONTENT = "content.xml"
_MEDIA_TYPE = b"application/vnd.oasis.opendocument.text"
_SKIPPED = frozenset(
    {"tracked-changes", "annotation", "table-of-content", "scripts", "note-citation", "ruby-text"}
)
_SPACES = 100
"""Blanks of one element at most."""


def read_odt(stream: BinaryIO, outline: Outline) -> None:
    package = Package(stream)
    package.require(_CONTENT)
    if not package.read("mimetype").startswith(_MEDIA_TYPE):
        raise ExtractionFailed(FailureReason.TYPE_MISMATCH)
    package.parse("META-INF/manifest.xml", _Manifest())
    outline.title = title_of(package, "meta.xml")
    package.parse(_CONTENT, _Body(outline))


class _Manifest(XmlHandler):
    def start(self, name: str, _: dict[str, str]) -> None:
        if name == "encryption-data":
            raise ExtractionFailed(FailureReason.ENCRYPTED)


class _Body(XmlHandler):
    """Adds paragraphs, lists and tables to the outline as they end.

    A paragraph inside another one, as in a footnote, is added before the outer one ends.
    """

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._skipped = 0
        self._open: list[list[str]] = []
        self._level = 1
        self._lists = 0
        self._tables = 0
        self._row: list[str] = []
        self._cell: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skipped or name in _SKIPPED:
            self._skipped += 1
        elif name in ("p", "h"):
            self._open.append([])
            level = attributes.get("outline-level", "1")
            self._level = int(level) if level.isdecimal() else 1
        elif name == "list":
            self._lists += 1
        elif name == "table":
            self._tables += 1
        elif self._tables == 1 and name == "table-row":
            self._row = []
        elif self._tables == 1 and name == "table-cell":
            self._cell = []
        elif self._open:
            self._add_blank(name, attributes)

    def end(self, name: str) -> None:
        if self._skipped:
            self._skipped -= 1
        elif name in ("p", "h") and self._open:
            self._end_paragraph("".join(self._open.pop()), is_heading=name == "h")
        elif name == "list":
            self._lists -= 1
            if not self._lists and not self._tables:
                self._outline.end_rows()
        elif self._tables:
            self._end_of_table(name)

    def text(self, data: str) -> None:
        if self._open and not self._skipped:
            self._open[-1].append(data)

    def _add_blank(self, name: str, attributes: dict[str, str]) -> None:
        if name == "s":
            count = attributes.get("c", "1")
            self._open[-1].append(" " * min(_SPACES, int(count) if count.isdecimal() else 1))
        elif name in ("tab", "line-break"):
            self._open[-1].append(" " if name == "tab" else "\n")

    def _end_paragraph(self, text: str, *, is_heading: bool) -> None:
        if self._tables:
            self._cell.append(text)
        elif is_heading:
            self._outline.heading(self._level, text)
        elif self._lists:
            self._outline.item(text, depth=self._lists - 1)
        else:
            self._outline.paragraph(text)

    def _end_of_table(self, name: str) -> None:
        """Tables inside a cell are part of its text."""
        if name == "table":
            self._tables -= 1
            if not self._tables:
                self._outline.end_rows()
        elif self._tables == 1 and name == "table-cell":
            self._row.append(" ".join(self._cell))
        elif self._tables == 1 and name == "table-row":
            self._outline.row(self._row)
