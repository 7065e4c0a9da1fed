"""Reading XML without document types and entities, as a sequence of calls."""

from collections.abc import Iterable
from xml.parsers import expat  # a document type ends the parsing before any entity

from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed

_DEEPEST = 1000


class XmlHandler:
    """Receives the elements; names are without their namespaces. The calls here do nothing."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element starts."""

    def end(self, name: str) -> None:
        """An element ends."""

    def text(self, data: str) -> None:
        """Part of a text."""


class _Depth:
    """Passes the elements on, and refuses those that are nested too deeply."""

    def __init__(self, handler: XmlHandler) -> None:
        self._handler = handler
        self._depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ExtractionFailed(FailureReason.ARCHIVE_BOUNDS)
        local = {_local(key): value for key, value in attributes.items()}
        self._handler.start(_local(name), local)

    def end(self, name: str) -> None:
        self._depth -= 1
        self._handler.end(_local(name))


def parse(chunks: Iterable[bytes], handler: XmlHandler) -> None:
    """Parse a document.

    Raises:
        ExtractionFailed: it is not well-formed (`DAMAGED`), declares a document type (`ENTITIES`),
            or is nested too deeply (`ARCHIVE_BOUNDS`).
    """
    depth = _Depth(handler)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = depth.start
    parser.EndElementHandler = depth.end
    parser.CharacterDataHandler = handler.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        for chunk in chunks:
            parser.Parse(chunk, False)  # takes no keywords
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise ExtractionFailed(FailureReason.DAMAGED) from error


def _refuse(*_: object) -> None:
    raise ExtractionFailed(FailureReason.ENTITIES)


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
