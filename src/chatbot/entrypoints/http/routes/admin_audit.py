"""GET /admin/audit: who did what."""

import json
from typing import Annotated, Any

from fastapi import Query, Request, Response

from chatbot.domain.errors import AuditUnavailable, Forbidden
from chatbot.entrypoints.http import ndjson, routing
from chatbot.entrypoints.http.audit_cursor import read_audit_cursor
from chatbot.entrypoints.http.deps.audit_filter import Filter
from chatbot.entrypoints.http.deps.caller import Caller
from chatbot.entrypoints.http.deps.parameters import Limit, UseCases
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.schemas.audit import EVENT, AuditAnswer

router = routing.router(tag="audit", prefix="/admin/audit")
AfterEvent = Annotated[
    str | None,
    Query(
        max_length=200,
        description="The value of `next` on the previous page, or the `seq` of an event.",
    ),
]
_NDJSON: dict[int | str, dict[str, Any]] = {
    200: {"content": {ndjson.MEDIA_TYPE: ndjson.documented(f"{json.dumps(EVENT)}\n")}}
}


@router.get("", response_model=AuditAnswer, responses=_NDJSON)
@documented(Forbidden, AuditUnavailable)
async def read(
    *,
    request: Request,
    caller: Caller,
    wanted: Filter,
    use: UseCases,
    limit: Limit = 50,
    after: AfterEvent = None,
) -> AuditAnswer | Response:
    """List the events of the audit, oldest first; the call itself is recorded.

    With `Accept: application/x-ndjson`, all events are streamed, one JSON object per line.
    """
    cursor = read_audit_cursor(after, wanted)
    if ndjson.is_wanted(request):
        return ndjson.EventStream(await use.audit_trail.stream(caller, wanted, after=cursor.after))
    page = await use.audit_trail.page(
        caller, wanted, after=cursor.after, up_to=cursor.up_to, limit=limit
    )
    return AuditAnswer.of(page, wanted)
