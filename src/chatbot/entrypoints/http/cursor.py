"""Opaque cursors for pages of sessions."""

from datetime import UTC, datetime, timedelta

from fastapi.exceptions import RequestValidationError

from chatbot.domain.chat import SessionCursor, SessionId, is_session_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def write_cursor(mark: SessionCursor) -> str:
    """Returns a page mark as an opaque cursor."""
    return f"{(mark.updated_at - _EPOCH) // _MICROSECOND:x}-{mark.id}"


def read_cursor(raw: str | None) -> SessionCursor | None:
    """Returns the page mark of a cursor; None is the first page.

    Raises:
        RequestValidationError: the cursor is invalid.
    """
    if raw is None:
        return None
    micros, _, session_id = raw.rpartition("-")  # negative before 1970
    try:
        updated_at = _EPOCH + int(micros, 16) * _MICROSECOND
        mark = SessionCursor(updated_at=updated_at, id=SessionId(session_id))
    except (ValueError, OverflowError):
        mark = None
    if mark is None or not is_session_id(session_id) or write_cursor(mark) != raw:
        message = "The cursor is invalid: use `next` of the previous page."
        raise RequestValidationError(
            [{"type": "value_error", "loc": ("query", "after"), "msg": message}]
        )
    return mark
