"""The filters of `GET /admin/audit`."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BeforeValidator

from chatbot.application.audit_trail import MAX_NAME_CHARS, AuditFilter, name_of
from chatbot.domain.audit import Action, Outcome
from chatbot.domain.text import moment_of

Moment = Annotated[datetime, BeforeValidator(moment_of)]
Name = Annotated[str, AfterValidator(name_of)]


async def _filter(
    *,
    since: Annotated[
        Moment | None, Query(alias="from", description="Only events at or after this time.")
    ] = None,
    until: Annotated[
        Moment | None, Query(alias="to", description="Only events before this time.")
    ] = None,
    action: Annotated[Action | None, Query(description="Only events with this action.")] = None,
    actor: Annotated[
        Name | None,
        Query(
            min_length=1,
            max_length=MAX_NAME_CHARS,
            description="Only events caused by this user or client (id), host account or network address.",
        ),
    ] = None,
    subject: Annotated[
        Name | None,
        Query(
            alias="object",
            min_length=1,
            max_length=MAX_NAME_CHARS,
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
