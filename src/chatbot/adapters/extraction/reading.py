"""What all readers share: their input and their error.

Imported in no time, unlike `ExtractionFailed` and `typing`: the process of each file imports it.
"""

from io import BufferedReader, BytesIO

from chatbot.domain.extraction import FailureReason

Source = BufferedReader | BytesIO
"""A file, or the bytes of one."""


class Unreadable(Exception):
    """No text can be extracted from the file."""

    def __init__(self, reason: FailureReason) -> None:
        super().__init__(reason)
        self.reason = reason
