"""The title in the properties of an office document."""

from chatbot.adapters.extraction.outline import one_line
from chatbot.adapters.extraction.package import Package
from chatbot.adapters.extraction.xml_events import XmlHandler


class _Title(XmlHandler):
    def __init__(self) -> None:
        self.parts: list[str] = []
        self._is_title = False

    def start(self, name: str, _: dict[str, str]) -> None:
        self._is_title = name == "title"

    def end(self, _: str) -> None:
        self._is_title = False

    def text(self, data: str) -> None:
        if self._is_title:
            self.parts.append(data)


def title_of(package: Package, name: str) -> str:
    """Return the title in this entry; empty if absent."""
    title = _Title()
    package.parse(name, title)
    return one_line("".join(title.parts))
