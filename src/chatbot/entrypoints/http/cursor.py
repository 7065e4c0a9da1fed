"""Where a page of sessions ends, as text that callers hand back."""

from datetime import UTC, datetime, timedelta

from fastapi.exceptions import RequestValidationError

from chatbot.domain.chat import PageMark, SessionId, is_session_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def write_cursor(mark: PageMark) -> str:
    """A page mark as the opaque text that callers hand back."""
    return f"{(mark.updated_at - _EPOCH) // _MICROSECOND:x}-{mark.id}"


def read_cursor(raw: str | None) -> PageMark | None:
    """The page mark of such a text; None stands for the first page.

    Raises:
        RequestValidationError: we never wrote this text.
    """
    if raw is None:
        return None
    micros, _, session_id = raw.rpartition("-")  # before 1970 there is a sign
    try:
        updated_at = _EPOCH + int(micros, 16) * _MICROSECOND
        mark = PageMark(updated_at=updated_at, id=SessionId(session_id))
    except (ValueError, OverflowError):
        mark = None
    if mark is None or not is_session_id(session_id) or write_cursor(mark) != raw:
        message = "This is no cursor of ours."
        raise RequestValidationError(
            [{"type": "value_error", "loc": ("query", "after"), "msg": message}]
        )
    return mark
