"""The port to the extraction of text from files."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from chatbot.domain.errors import ChatbotError

HEADING_SEPARATOR = " > "
"""Between the headings of a path, as in `Holidays > Carry-over`."""
SECTION_SEPARATOR = "\n\n"
"""Between the sections of an extracted text."""


class FailureReason(StrEnum):
    """Why no text could be extracted. The value is stored; `sentence` is for people."""

    UNSUPPORTED = "unsupported"
    EXTRA_MISSING = "extra_missing"
    TYPE_MISMATCH = "type_mismatch"
    EMPTY = "empty"
    NO_TEXT = "no_text"
    SCANNED = "scanned"
    ENCRYPTED = "encrypted"
    DAMAGED = "damaged"
    FILE_TOO_LARGE = "file_too_large"
    TOO_MANY_PAGES = "too_many_pages"
    TOO_MUCH_TEXT = "too_much_text"
    ARCHIVE_BOUNDS = "archive_bounds"
    ENTITIES = "entities"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    FailureReason.UNSUPPORTED: "Files of this type are not supported.",
    FailureReason.EXTRA_MISSING: "Files of this type need the extra `documents`, which is not "
    "installed: `pip install 'chatbot[documents]'`.",
    FailureReason.TYPE_MISMATCH: "The content of the file does not match its type.",
    FailureReason.EMPTY: "The file is empty.",
    FailureReason.NO_TEXT: "The file contains no text.",
    FailureReason.SCANNED: "The file contains only images and no text: it may be a scan. Text in "
    "images is recognized only with `DOCUMENT_OCR=tesseract`.",
    FailureReason.ENCRYPTED: "The file is encrypted: remove its password and upload it again.",
    FailureReason.DAMAGED: "The file is damaged or incomplete.",
    FailureReason.FILE_TOO_LARGE: "The file is too large.",
    FailureReason.TOO_MANY_PAGES: "The file has too many pages: the limit is 2,000.",
    FailureReason.TOO_MUCH_TEXT: "The file contains too much text: the limit is 50 MiB.",
    FailureReason.ARCHIVE_BOUNDS: "The file is an archive with too many entries, or one that "
    "expands to far more than its size.",
    FailureReason.ENTITIES: "The file declares XML entities or a document type, which are not "
    "accepted.",
    FailureReason.TIMEOUT: "The file took too long to read: the limit is 60 seconds.",
    FailureReason.OUT_OF_MEMORY: "The file needs too much memory to read: the limit is 512 MiB.",
    FailureReason.CRASHED: "The file could not be read: the program that extracts text failed on "
    "it.",
}


class ExtractionFailed(ChatbotError):
    """No text could be extracted from a file. `str(error)` is the sentence of the reason."""

    def __init__(self, reason: FailureReason) -> None:
        super().__init__(reason.sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of an extracted text under one heading.

    `heading` is the path of headings above the text, joined with `HEADING_SEPARATOR`, or empty.
    `start` and `end` are offsets in code points into the extracted text, which is the text of all
    sections joined with `SECTION_SEPARATOR`.
    """

    heading: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """The text of a file. `title` is the one inside the file, or empty."""

    media_type: str
    title: str
    sections: Sequence[Section]


class Extractor(Protocol):
    """Extracts the text of files that nobody has checked."""

    @abstractmethod
    def media_type_of(self, declared: str, name: str) -> str:
        """Return the media type as which a file is read, without looking into the file.

        It follows from the declared media type, whose parameters are ignored, or from the extension
        of the name if the declared type is empty or general (`application/octet-stream`,
        `text/plain`).

        Raises:
            ExtractionFailed: the type is not supported (`UNSUPPORTED`), or it is only with the
                extra `documents` (`EXTRA_MISSING`).
        """

    @abstractmethod
    async def extract(self, path: Path, media_type: str, name: str) -> Extracted:
        """Return the text of the file; `media_type` and `name` are what the caller declared.

        A cancelled call ends what it has started. The file is only read. The text can be stored: it
        contains neither NUL nor lone surrogates, and at least one section has text.

        Raises:
            ExtractionFailed: the reason is one of those for people; nothing is left behind.
        """
