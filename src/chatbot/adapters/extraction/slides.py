"""Presentations (pptx): a section for each slide, in their order, with its notes."""

import posixpath
from typing import BinaryIO

from chatbot.adapters.extraction.outline import Outline, one_line
from chatbot.adapters.extraction.package import Package, title_of
from chatbot.adapters.extraction.xml_events import XmlHandler
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed

_PRESENTATION = "ppt/presentation.xml"
_MOST_SLIDES = 2000
_TITLES = ("title", "ctrTitle")
_REPEATED = ("sldNum", "dt", "ftr", "hdr", "sldImg")
"""Placeholders for numbers, dates, headers and footers."""


def read_pptx(stream: BinaryIO, outline: Outline) -> None:
    package = Package(stream)
    package.require(_PRESENTATION)
    outline.title = title_of(package, "docProps/core.xml")
    order = _Order()
    package.parse(_PRESENTATION, order)
    if len(order.ids) > _MOST_SLIDES:
        raise ExtractionFailed(FailureReason.TOO_MANY_PAGES)
    targets = _relations(package, _PRESENTATION)
    for number, relation in enumerate(order.ids, 1):
        name, _ = targets.get(relation, ("", ""))
        _add_slide(package, name, number, outline)


def _add_slide(package: Package, name: str, number: int, outline: Outline) -> None:
    slide = _Slide()
    package.parse(name, slide)
    outline.heading(1, f"{number}. {slide.title}" if slide.title else f"{number}.")
    slide.add_to(outline)
    for target, kind in _relations(package, name).values():
        if kind == "notesSlide":
            notes = _Slide()
            package.parse(target, notes)
            notes.add_to(outline)


def _relations(package: Package, name: str) -> dict[str, tuple[str, str]]:
    """Return the entry and the kind of each relation of an entry, by its id."""
    folder, file = posixpath.split(name)
    found = _Relations(folder)
    package.parse(f"{folder}/_rels/{file}.rels", found)
    return found.targets


class _Relations(XmlHandler):
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.targets: dict[str, tuple[str, str]] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship" and attributes.get("TargetMode") != "External":
            target = posixpath.join("/" + self._folder, attributes.get("Target", ""))
            kind = attributes.get("Type", "").rpartition("/")[2]
            entry = posixpath.normpath(target).lstrip("/")
            self.targets[attributes.get("Id", "")] = (entry, kind)


class _Order(XmlHandler):
    """The relations of the slides, in the order of the presentation."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sldId":
            self.ids.append(attributes.get("r:id", attributes.get("id", "")))


class _Slide(XmlHandler):
    """The title of a slide, and its texts and tables in the order of the file."""

    def __init__(self) -> None:
        self.title = ""
        self._parts: list[list[str] | tuple[int, str]] = []
        self._placeholder = ""
        self._text: list[str] = []
        self._depth = 0
        self._row: list[str] | None = None
        self._cell: list[str] = []
        self._is_text = False

    def add_to(self, outline: Outline) -> None:
        for part in self._parts:
            if isinstance(part, list):
                outline.row(part)
            else:
                outline.item(part[1], depth=part[0])
        outline.end_rows()

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name in ("sp", "graphicFrame"):
            self._placeholder = ""
        elif name == "ph":
            self._placeholder = attributes.get("type", "body")
        elif name == "p":
            self._text, self._depth = [], 0
        elif name == "pPr":
            level = attributes.get("lvl", "0")
            self._depth = int(level) if level.isdecimal() else 0
        elif name == "br":
            self._text.append(" ")
        elif name == "tr":
            self._row = []
        elif name == "tc":
            self._cell = []
        self._is_text = name == "t"

    def end(self, name: str) -> None:
        self._is_text = False
        if name == "p":
            self._end_paragraph(one_line("".join(self._text)))
        elif name == "tc" and self._row is not None:
            self._row.append(" ".join(self._cell))
        elif name == "tr" and self._row is not None:
            self._parts.append(self._row)
            self._row = None

    def text(self, data: str) -> None:
        if self._is_text:
            self._text.append(data)

    def _end_paragraph(self, text: str) -> None:
        if not text or self._placeholder in _REPEATED:
            return
        if self._row is not None:
            self._cell.append(text)
        elif self._placeholder in _TITLES:
            self.title = f"{self.title} {text}".strip()
        else:
            self._parts.append((self._depth, text))
