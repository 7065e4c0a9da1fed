"""The filters of `GET /admin/audit`."""

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Query
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BeforeValidator

from chatbot.application.audit_trail import AuditFilter
from chatbot.domain.audit import Action, Outcome

_MAX_CHARS = 200
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d([Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d))?", re.ASCII
)


def moment_of(raw: str) -> datetime:
    """Return the moment, of a date its beginning in UTC.

    Raises:
        ValueError: it is neither a date nor a time with a zone in the format of RFC 3339.
    """
    message = "must be a date or a time with its zone, as `2026-01-31` or `2026-01-31T09:30:00Z`"
    if _MOMENT.fullmatch(raw) is None:
        raise ValueError(message)
    try:
        found = datetime.fromisoformat(raw.upper())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(message) from None


def name_of(raw: str) -> str:
    """Return the id, account or address.

    Raises:
        ValueError: it has invisible characters, or is an e-mail address, which is never recorded.
    """
    if not raw.isprintable():
        raise ValueError("must not have invisible characters")
    if "@" in raw:
        raise ValueError("must be an id, not an e-mail address")
    return raw


Moment = Annotated[datetime, BeforeValidator(moment_of)]
Name = Annotated[str, AfterValidator(name_of)]


async def _filter(
    *,
    since: Annotated[
        Moment | None, Query(alias="from", description="Only events from this time on.")
    ] = None,
    until: Annotated[
        Moment | None, Query(alias="to", description="Only events before this time.")
    ] = None,
    action: Annotated[Action | None, Query(description="Only events of this action.")] = None,
    actor: Annotated[
        Name | None,
        Query(
            min_length=1,
            max_length=_MAX_CHARS,
            description="Only events of this user or client (its id), account of the host, or address.",
        ),
    ] = None,
    subject: Annotated[
        Name | None,
        Query(
            alias="object",
            min_length=1,
            max_length=_MAX_CHARS,
            description="Only events about the object with this id.",
        ),
    ] = None,
    outcome: Annotated[Outcome | None, Query(description="Only events with this outcome.")] = None,
) -> AuditFilter:
    if since is not None and until is not None and since > until:
        message = "must not be before `from`"
        raise RequestValidationError(
            [{"type": "value_error", "loc": ("query", "to"), "msg": message}]
        )
    return AuditFilter(
        since=since, until=until, action=action, actor=actor, object=subject, outcome=outcome
    )


Filter = Annotated[AuditFilter, Depends(_filter)]
