"""Cursors for pages of the audit: the number of an event, or a text that belongs to its filters."""

import hashlib
import re
from dataclasses import dataclass

from fastapi.exceptions import RequestValidationError

from chatbot.application.audit_trail import AuditFilter, AuditPage

_CURSOR = re.compile("([0-9]{1,15})(?:-([0-9]{1,15})-([0-9a-f]{8}))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCursor:
    """The event after which the page begins, and the last event to return; None for the newest."""

    after: int = 0
    up_to: int | None = None


def next_cursor(page: AuditPage, wanted: AuditFilter) -> str | None:
    """Return the text of the cursor after a page; clients treat it as opaque."""
    if page.next_after is None:
        return None
    return f"{page.next_after}-{page.up_to}-{_digest(wanted)}"


def read_audit_cursor(raw: str | None, wanted: AuditFilter) -> AuditCursor:
    """Return the cursor that a text stands for; None is the first page.

    Raises:
        RequestValidationError: the cursor is invalid, or of other filters.
    """
    if raw is None:
        return AuditCursor()
    found = _CURSOR.fullmatch(raw)
    if found is None or found[3] not in {None, _digest(wanted)}:
        message = (
            "The cursor is invalid: use `next` of the previous page, with the same filters, or the "
            "`seq` of an event."
        )
        raise RequestValidationError(
            [{"type": "value_error", "loc": ("query", "after"), "msg": message}]
        )
    return AuditCursor(after=int(found[1]), up_to=int(found[2]) if found[2] else None)


def _digest(wanted: AuditFilter) -> str:
    return hashlib.sha256(str(wanted).encode()).hexdigest()[:8]
