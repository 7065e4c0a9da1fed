"""Word documents (docx): what is read on paper, with tracked insertions and without deletions."""

import re
from typing import BinaryIO

from chatbot.adapters.extraction.outline import Outline
from chatbot.adapters.extraction.package import Package, title_of
from chatbot.adapters.extraction.word_styles import WordStyles
from chatbot.adapters.extraction.xml_events import XmlHandler

_DOCUMENT = "word/document.xml"
_SKIPPED = frozenset(
    {"Fallback", "moveFrom", "del", "instrText", "comment", "pPrChange", "rPrChange"}
)
"""`Fallback` repeats text boxes for old programs."""
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_BODY_LEVEL = 9


def read_docx(stream: BinaryIO, outline: Outline) -> None:
    package = Package(stream)
    package.require(_DOCUMENT)
    outline.title = title_of(package, "docProps/core.xml")
    styles = WordStyles()
    package.parse("word/styles.xml", styles)
    package.parse(_DOCUMENT, _Body(outline, styles))
    for name in ("word/footnotes.xml", "word/endnotes.xml"):
        package.parse(name, _Body(outline, styles))


class _Paragraph:
    def __init__(self) -> None:
        self.text: list[str] = []
        self.style = ""
        self.level: int | None = None
        self.list_depth: int | None = None
        self.is_hidden_run = False


class _Body(XmlHandler):
    """Adds paragraphs and tables to the outline as they end."""

    def __init__(self, outline: Outline, styles: WordStyles) -> None:
        self._outline = outline
        self._styles = styles
        self._skipped = 0
        self._open: list[_Paragraph] = []
        self._tables = 0
        self._row: list[str] = []
        self._cell: list[str] = []
        self._is_text = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skipped or name in _SKIPPED:
            self._skipped += 1
        elif name == "p":
            self._open.append(_Paragraph())
        elif name == "tbl":
            self._tables += 1
            if self._tables == 1:
                self._outline.end_rows()
        elif name == "tr" and self._tables == 1:
            self._row = []
        elif name == "tc" and self._tables == 1:
            self._cell = []
        elif self._open:
            self._describe(self._open[-1], name, attributes)

    def end(self, name: str) -> None:
        if self._skipped:
            self._skipped -= 1
        elif name == "p" and self._open:
            self._end_paragraph(self._open.pop())
        elif name == "r" and self._open:
            self._open[-1].is_hidden_run = False
        elif name == "t":
            self._is_text = False
        elif self._tables:
            self._end_of_table(name)

    def text(self, data: str) -> None:
        if self._is_text and not self._skipped and not self._open[-1].is_hidden_run:
            self._open[-1].text.append(data)

    def _describe(self, paragraph: _Paragraph, name: str, attributes: dict[str, str]) -> None:
        value = attributes.get("val", "")
        if name == "t":
            self._is_text = True
        elif name in _CHARACTERS:
            paragraph.text.append(_CHARACTERS[name])
        elif name == "pStyle":
            paragraph.style = value
        elif name == "outlineLvl" and value.isdecimal():
            paragraph.level = int(value)
        elif name == "ilvl" and value.isdecimal():
            paragraph.list_depth = int(value)
        elif name == "numId" and value == "0":
            paragraph.list_depth = None
        elif name == "vanish":
            paragraph.is_hidden_run = value not in ("0", "false", "off")

    def _end_paragraph(self, paragraph: _Paragraph) -> None:
        text = "".join(paragraph.text)
        level = self._styles.level(paragraph.style) if paragraph.level is None else paragraph.level
        if self._styles.is_contents(paragraph.style):
            return
        if self._tables:
            self._cell.append(text)
        elif level is not None and level < _BODY_LEVEL:
            self._outline.heading(level + 1, text)
        elif paragraph.list_depth is not None:
            self._outline.item(text, depth=paragraph.list_depth)
        else:
            self._outline.paragraph(re.sub(r"[ \t]+", " ", text))

    def _end_of_table(self, name: str) -> None:
        """Tables inside a cell are part of its text."""
        if name == "tbl":
            self._tables -= 1
            if not self._tables:
                self._outline.end_rows()
        elif self._tables == 1 and name == "tc":
            self._row.append(" ".join(self._cell))
        elif self._tables == 1 and name == "tr":
            self._outline.row(self._row)
