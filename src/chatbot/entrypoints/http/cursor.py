"""Cursors for pages of sessions, as text."""

from datetime import UTC, datetime, timedelta

from fastapi.exceptions import RequestValidationError

from chatbot.domain.chat import SessionCursor, SessionId, is_session_id

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
        message = "The cursor is invalid: use `next` of the previous page."
        raise RequestValidationError(
            [{"type": "value_error", "loc": ("query", "after"), "msg": message}]
        )
    return cursor
