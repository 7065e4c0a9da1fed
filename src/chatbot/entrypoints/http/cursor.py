"""Cursors for pages, as text: opaque to clients."""

import base64
from datetime import UTC, datetime, timedelta

from fastapi.exceptions import RequestValidationError

from chatbot.domain.chat import SessionCursor, SessionId, is_session_id
from chatbot.domain.text import is_storable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def write_cursor(cursor: SessionCursor) -> str:
    """Returns the text of a cursor; clients treat it as opaque."""
    return f"{(cursor.updated_at - _EPOCH) // _MICROSECOND:x}-{cursor.id}"


def read_cursor(raw: str | None) -> SessionCursor | None:
    """Returns the cursor that a text stands for; None is the first page.

    Raises:
        RequestValidationError: the cursor is invalid.
    """
    if raw is None:
        return None
    micros, _, session_id = raw.rpartition("-")  # negative before 1970
    try:
        updated_at = _EPOCH + int(micros, 16) * _MICROSECOND
        cursor = SessionCursor(updated_at=updated_at, id=SessionId(session_id))
    except (ValueError, OverflowError):
        cursor = None
    if cursor is None or not is_session_id(session_id) or write_cursor(cursor) != raw:
        raise _invalid()
    return cursor


def write_text_cursor(last: str | None) -> str | None:
    """Returns the cursor of the page that follows this text; None if none follows."""
    return None if last is None else base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def read_text_cursor(raw: str | None) -> str:
    """Returns the text after which the page begins; empty for the first page.

    A cursor holds a position and nothing else: another caller, or one with other filters, gets what
    they may see from there on.

    Raises:
        RequestValidationError: the cursor is invalid.
    """
    if raw is None:
        return ""
    try:
        last = base64.b64decode(raw + "=" * (-len(raw) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise _invalid() from error
    if not last or not is_storable(last) or write_text_cursor(last) != raw:
        raise _invalid()
    return last


def _invalid() -> RequestValidationError:
    message = "The cursor is invalid: use `next` of the previous page."
    return RequestValidationError(
        [{"type": "value_error", "loc": ("query", "after"), "msg": message}]
    )
