"""E-mail messages: the headers that people see, the text, and the names of attachments."""

import email
import email.policy
from email.message import EmailMessage
from typing import BinaryIO, cast

from chatbot.adapters.extraction.charset import decode
from chatbot.adapters.extraction.outline import Outline
from chatbot.adapters.extraction.web_page import add_html
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed

_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_DEEPEST = 4
_MOST_PARTS = 1000


def read_mail(stream: BinaryIO, outline: Outline) -> None:
    message = email.message_from_binary_file(stream, policy=email.policy.default)
    if not any(name in message for name in ("From", "Subject", "Received", "Date")):
        raise ExtractionFailed(FailureReason.TYPE_MISMATCH)
    outline.title = _header(message, "Subject")
    _add(message, outline, depth=0)


def _add(message: EmailMessage, outline: Outline, *, depth: int) -> None:
    """Add a message, and those that are attached to it, down to the fourth."""
    if depth >= _DEEPEST:
        return
    for name in _SHOWN:
        if value := _header(message, name):
            outline.item(f"{name}: {value}")
    outline.end_rows()
    body = message.get_body(preferencelist=("plain", "html"))
    if body is not None:
        _add_text(cast("EmailMessage", body), outline)
    for number, part in enumerate(message.iter_attachments()):
        if number >= _MOST_PARTS:
            raise ExtractionFailed(FailureReason.ARCHIVE_BOUNDS)
        _add_attachment(part, outline, depth=depth)


def _add_attachment(part: EmailMessage, outline: Outline, *, depth: int) -> None:
    """Add an attached message or its name; attached files are not extracted."""
    if name := part.get_filename():
        outline.item(f"Attachment: {name}")
    if part.get_content_type() == "message/rfc822":
        outline.end_rows()
        inner = part.get_payload()
        if isinstance(inner, list) and isinstance(inner[0], EmailMessage):
            _add(inner[0], outline, depth=depth + 1)


def _add_text(part: EmailMessage, outline: Outline) -> None:
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else b""
    text = decode(raw, declared=part.get_content_charset("utf-8"))
    if part.get_content_type() == "text/html":
        title = outline.title
        add_html(text, outline)
        outline.title = title
    else:
        outline.paragraph(text)


def _header(message: EmailMessage, name: str) -> str:
    try:
        return str(message.get(name, ""))
    except (ValueError, LookupError, IndexError, AttributeError):
        return ""  # Python's parser of structured headers fails on some malformed ones
