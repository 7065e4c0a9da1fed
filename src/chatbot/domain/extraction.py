"""Extraction of text from files: separators of the text, and reasons for a failure."""

from enum import StrEnum

HEADING_SEPARATOR = " > "
"""Between the headings of a path, as in `Holidays > Carry-over`."""
SECTION_SEPARATOR = "\n\n"
"""Between the sections of an extracted text."""


class FailureReason(StrEnum):
    """Why no text could be extracted. The value is stored; `sentence` is shown to people."""

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
    TOO_MANY_PASSAGES = "too_many_passages"
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
    FailureReason.EXTRA_MISSING: "Files of this type require the extra `documents`, which is not "
    "installed: in the checkout of the service, run `make install`, and restart the service.",
    FailureReason.TYPE_MISMATCH: "The content of the file does not match its type.",
    FailureReason.EMPTY: "The file is empty.",
    FailureReason.NO_TEXT: "The file contains no text.",
    FailureReason.SCANNED: "The file contains only images and no text, so it may be a scan. Text in "
    "images is recognized only if `DOCUMENT_OCR=tesseract` is set.",
    FailureReason.ENCRYPTED: "The file is encrypted: remove its password and upload it again.",
    FailureReason.DAMAGED: "The file is damaged or incomplete.",
    FailureReason.FILE_TOO_LARGE: "The file is too large.",
    FailureReason.TOO_MANY_PAGES: "The file has too many pages: the limit is 2,000.",
    FailureReason.TOO_MUCH_TEXT: "The file contains too much text: the limit is 50 MiB.",
    FailureReason.TOO_MANY_PASSAGES: "The text of the file has too many parts: the limit is 100,000 "
    "passages.",
    FailureReason.ARCHIVE_BOUNDS: "The file has too many or too deeply nested parts, or expands to "
    "many times its size.",
    FailureReason.ENTITIES: "The file contains XML entity or document type declarations, which are not "
    "allowed.",
    FailureReason.TIMEOUT: "Extracting the text took too long: the limit is 60 seconds.",
    FailureReason.OUT_OF_MEMORY: "Extracting the text needs too much memory: the limit is 512 MiB.",
    FailureReason.CRASHED: "The file could not be read: the text extraction crashed.",
}
