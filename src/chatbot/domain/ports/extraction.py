"""The port to the extraction of text from files."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chatbot.domain.errors import ChatbotError
from chatbot.domain.extraction import FailureReason
from chatbot.domain.passages import DocumentPassage


class ExtractionFailed(ChatbotError):
    """No text could be extracted from a file. `str(error)` is the sentence of the reason, and a hint."""

    def __init__(self, reason: FailureReason, hint: str = "") -> None:
        super().__init__(f"{reason.sentence} {hint}".strip())
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """The text of a file, in passages. `title` is the one inside the file, or empty."""

    media_type: str
    title: str
    passages: Sequence[DocumentPassage]


class Extractor(Protocol):
    """Extracts the text of untrusted files."""

    @abstractmethod
    def media_type_of(self, declared: str, name: str) -> str:
        """Return the media type that a file is parsed as, without reading the file.

        It follows from the declared media type, whose parameters are ignored, or from the extension
        of the name if the declared type is empty or general (`application/octet-stream`,
        `text/plain`).

        Raises:
            ExtractionFailed: the type is not supported (`UNSUPPORTED`; the hint lists those that
                are), or it is only with the extra `documents` (`EXTRA_MISSING`).
        """

    @abstractmethod
    async def extract(self, path: Path, media_type: str, name: str) -> Extracted:
        """Return the text of the file; `media_type` and `name` are what the caller declared.

        Cancelling the call stops the extraction. The file is only read. The text can be stored: it
        contains neither NUL nor lone surrogates, and there is at least one passage.

        Raises:
            ExtractionFailed: the reason is one of those for people; nothing is left behind.
        """

    async def aclose(self) -> None:
        """End what was started to read files."""
        return
