"""HTML: the text that a browser displays, without scripts, styles and navigation."""

import re
from html.parser import HTMLParser
from typing import BinaryIO

from chatbot.adapters.extraction.charset import decode
from chatbot.adapters.extraction.outline import Outline, one_line
from chatbot.adapters.extraction.tables import named

_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE)
_HEAD_BYTES = 4096
_UNSEEN = frozenset({"script", "style", "template", "noscript", "nav", "svg", "iframe", "object"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
)
_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "body", "center", "dd", "details", "div"),
        *("dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html"),
        *("li", "main", "ol", "p", "pre", "section", "summary", "table", "tbody", "thead", "ul"),
    }
)
_LISTS = ("ul", "ol")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_HIDING_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


def read_html(stream: BinaryIO, outline: Outline) -> None:
    raw = stream.read()
    found = _CHARSET.search(raw[:_HEAD_BYTES])
    add_html(decode(raw, declared=found[1].decode("ascii") if found else ""), outline)


def add_html(text: str, outline: Outline) -> None:
    page = _Page(outline)
    page.feed(text)
    page.close()
    page.end()


class _Page(HTMLParser):
    """Adds the blocks of a page to the outline as they end."""

    def __init__(self, outline: Outline) -> None:
        super().__init__(convert_charrefs=True)
        self._outline = outline
        self._text: list[str] = []
        self._cells: list[str] | None = None
        self._in_cell = False
        self._names: list[str] | None = None
        self._has_values = self._are_used = False
        self._preformatted = 0
        self._lists = 0
        self._is_item = False
        self._heading = 0
        self._hidden: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._hidden == ["p"] and (tag in _BLOCKS or tag in _HEADINGS):
            self._hidden = []  # the end tag of a paragraph may be omitted
        if self._hidden or tag in _UNSEEN or _is_hidden(dict(attrs)):
            if tag not in _VOID:
                self._hidden.append(tag)
        elif tag == "title":
            self.end_block()
            self._in_title = True
        elif tag == "br":
            self._text.append("\n" if self._cells is None else " ")
        else:
            self._start_block(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Browsers ignore the slash of an element that needs an end tag."""
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            self._end_hidden(tag)
        elif tag == "title":
            self._end_title()
        elif tag in ("td", "th"):
            self._end_cell()
        elif tag == "tr":
            self._end_row()
        elif tag in _HEADINGS or tag in _BLOCKS:
            self.end_block()
            self._lists = max(0, self._lists - (tag in _LISTS))
            self._preformatted = max(0, self._preformatted - (tag == "pre"))
            if tag == "table":
                self._end_table()
            elif tag in _LISTS and not self._lists:
                self._outline.end_rows()

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._text.append(data if self._preformatted else data.replace("\n", " "))

    def end(self) -> None:
        """Add what is not ended: end tags may be omitted."""
        self._end_table()
        self.end_block()

    def end_block(self) -> None:
        """Add the text up to here."""
        if self._cells is not None:
            return
        text, self._text = "".join(self._text), []
        if self._heading:
            self._outline.heading(self._heading, text)
        elif self._is_item:
            self._outline.item(text, depth=self._lists - 1)
        else:
            self._outline.paragraph("\n".join(filter(None, map(one_line, text.split("\n")))))
        self._heading, self._is_item = 0, False

    def _start_block(self, tag: str) -> None:
        if tag == "table":
            self.end_block()
            self._end_table()
        elif tag == "tr":
            self._end_row()
            self.end_block()
            self._cells, self._has_values = [], False
        elif tag in ("td", "th"):
            self._end_cell()
            self._has_values = self._has_values or tag == "td"
            self._in_cell, self._text = self._cells is not None, []
        elif tag in _HEADINGS or tag in _BLOCKS:
            self.end_block()
            self._heading = _HEADINGS.get(tag, 0)
            self._is_item = tag == "li"
            self._lists += tag in _LISTS
            self._preformatted += tag == "pre"
        if self._cells is not None and (tag in _BLOCKS or tag in _HEADINGS):
            self._text.append(" ")

    def _end_cell(self) -> None:
        if self._cells is not None and self._in_cell:
            self._cells.append("".join(self._text))
            self._text, self._in_cell = [], False

    def _end_row(self) -> None:
        self._end_cell()
        if self._cells is not None:
            self._add_row(self._cells)
            self._cells, self._text = None, []

    def _add_row(self, cells: list[str]) -> None:
        """Add a row, with the names of its columns if the first row of the table has headers only."""
        if self._names is None and not self._has_values and len(cells) > 1:
            self._names = cells
        elif self._names and len(self._names) == len(cells):
            self._outline.row(named(self._names, cells))
            self._are_used = True
        else:
            self._end_names()
            self._outline.row(cells)

    def _end_names(self) -> None:
        """Add names without values as they are."""
        if self._names and not self._are_used:
            self._outline.row(self._names)
        self._names, self._are_used = [], False

    def _end_table(self) -> None:
        self._end_row()
        self._end_names()
        self._names = None
        self._outline.end_rows()

    def _end_hidden(self, tag: str) -> None:
        """Leave the innermost hidden element of this name; an end tag without a start is ignored."""
        if tag in self._hidden:
            while self._hidden.pop() != tag:
                pass

    def _end_title(self) -> None:
        if self._in_title:
            self._outline.title = one_line("".join(self._text))
            self._text, self._in_title = [], False


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    style = attributes.get("style") or ""
    return "hidden" in attributes or _HIDING_STYLE.search(style) is not None
