"""GET /me/usage and GET /admin/usage: what was used, as JSON or CSV."""

import re
from datetime import date
from typing import Annotated, Any

from fastapi import Depends, Query, Response
from pydantic import BeforeValidator

from chatbot.domain.errors import Forbidden
from chatbot.domain.usage import Dimension
from chatbot.entrypoints.http import csv_table, routing
from chatbot.entrypoints.http.deps.accept import one_of
from chatbot.entrypoints.http.deps.caller import Caller, CurrentUser
from chatbot.entrypoints.http.deps.parameters import UseCases
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.schemas.usage import CSV_EXAMPLE, HEADER, UsageAnswer

router = routing.router(tag="usage")

JSON = "application/json"
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _require_day(raw: object) -> object:
    """Rejects numbers and times, which pydantic would accept as days."""
    if not isinstance(raw, str) or _DAY.fullmatch(raw) is None:
        raise ValueError("must be a day, such as 2026-01-31")
    return raw


_Day = Annotated[date, BeforeValidator(_require_day)]
Since = Annotated[
    _Day | None,
    Query(alias="from", description="The first day. Default: the first day of the current month."),
]
Until = Annotated[
    _Day | None, Query(alias="to", description="The last day (inclusive). Default: today.")
]
By = Annotated[Dimension, Query(description="What the rows are grouped by.")]
Format = Annotated[str, Depends(one_of(JSON, csv_table.MEDIA_TYPE))]
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {csv_table.MEDIA_TYPE: {"schema": {"type": "string"}, "example": CSV_EXAMPLE}}}
}


@router.get("/me/usage", response_model=UsageAnswer, responses=_CSV)
async def own(
    *,
    caller: Caller,
    _: CurrentUser,
    use: UseCases,
    media_type: Format,
    since: Since = None,
    until: Until = None,
) -> UsageAnswer | Response:
    """Return the usage of the current user, by day."""
    return _in_format(UsageAnswer.of(await use.usage.own(caller, since, until)), media_type)


@router.get("/admin/usage", response_model=UsageAnswer, responses=_CSV)
@documented(Forbidden)
async def all_usage(
    *,
    caller: Caller,
    use: UseCases,
    media_type: Format,
    since: Since = None,
    until: Until = None,
    by: By = Dimension.DAY,
) -> UsageAnswer | Response:
    """Return the usage; department administrators see only that of their department."""
    return _in_format(UsageAnswer.of(await use.usage.all(caller, since, until, by)), media_type)


def _in_format(answer: UsageAnswer, media_type: str) -> UsageAnswer | Response:
    if media_type == JSON:
        return answer
    content = csv_table.csv_of(HEADER, answer.cells())
    name = f"usage-{answer.since}-{answer.until}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, headers=headers, media_type=f"{media_type}; header=present")
