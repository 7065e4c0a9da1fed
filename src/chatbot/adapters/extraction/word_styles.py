"""The paragraph styles of a Word document: which ones are headings, and of which level."""

import re

from chatbot.adapters.extraction.xml_events import XmlHandler

_HEADING = re.compile(r"heading ([1-9])", re.IGNORECASE)
_MOST_PARENTS = 20


class WordStyles(XmlHandler):
    """Reads `word/styles.xml`. Built-in styles have English names in every language of Word."""

    def __init__(self) -> None:
        self._style = ""
        self._parents: dict[str, str] = {}
        self._levels: dict[str, int] = {}
        self._contents: set[str] = set()

    def start(self, name: str, attributes: dict[str, str]) -> None:
        value = attributes.get("val", "")
        if name == "style":
            self._style = attributes.get("styleId", "")
        elif name == "basedOn":
            self._parents[self._style] = value
        elif name == "outlineLvl" and value.isdecimal():
            self._levels[self._style] = int(value)
        elif name == "name" and self._style:
            self._name(value)

    def level(self, style: str) -> int | None:
        """Return the outline level of a style, from 0, or of one that it is based on."""
        for _ in range(_MOST_PARENTS):
            if style in self._levels:
                return self._levels[style]
            style = self._parents.get(style, "")
        return None

    def is_contents(self, style: str) -> bool:
        """Whether the style belongs to a table of contents, which repeats the headings."""
        return style in self._contents

    def _name(self, name: str) -> None:
        if found := _HEADING.fullmatch(name):
            self._levels.setdefault(self._style, int(found[1]) - 1)
        elif name.lower() == "title":
            self._levels.setdefault(self._style, 0)
        elif name.lower().startswith("toc "):
            self._contents.add(self._style)
