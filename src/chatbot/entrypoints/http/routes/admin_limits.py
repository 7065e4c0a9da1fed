"""/admin/limits: what callers may use."""

from typing import Annotated

from fastapi import Path, Response

from chatbot.domain.errors import AuditUnavailable, Conflict, Forbidden, NotFound, StorageFull
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.deps.caller import Caller
from chatbot.entrypoints.http.deps.parameters import UseCases
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.etags import IfMatch, tag, tagged
from chatbot.entrypoints.http.schemas.limits import (
    DeletedLimitAnswer,
    LimitAnswer,
    LimitBody,
    LimitsAnswer,
)

router = routing.router(tag="limits", prefix="/admin/limits")

_CHANGING = (Forbidden, AuditUnavailable, StorageFull)
LimitId = Annotated[str, Path(description="The id of the limit.", examples=["sales-monthly"])]


@router.get("")
@documented(Forbidden)
async def all_limits(caller: Caller, use: UseCases) -> LimitsAnswer:
    """List the limits."""
    found = await use.limits.all(caller)
    return LimitsAnswer(limits=[LimitAnswer.model_validate(each) for each in found])


@router.get("/{limit_id}", responses=tagged())
@documented(Forbidden, NotFound)
async def read(caller: Caller, limit_id: LimitId, use: UseCases, response: Response) -> LimitAnswer:
    """Return a limit."""
    limit = await use.limits.read(caller, limit_id)
    tag(response, limit)
    return LimitAnswer.model_validate(limit)


@router.put("/{limit_id}", responses=tagged())
@documented(*_CHANGING, Conflict)
async def put(
    body: LimitBody,
    caller: Caller,
    limit_id: LimitId,
    *,
    expected: IfMatch,
    use: UseCases,
    response: Response,
) -> LimitAnswer:
    """Create or change a limit; a caller is subject to all matching limits.

    It applies immediately in this process, and within 5 s in others.
    """
    limit, _ = await use.limits.put(caller, body.to_limit(limit_id), expected=expected)
    tag(response, limit)
    return LimitAnswer.model_validate(limit)


@router.delete("/{limit_id}")
@documented(*_CHANGING, NotFound)
async def delete(
    caller: Caller, limit_id: LimitId, expected: IfMatch, use: UseCases
) -> DeletedLimitAnswer:
    """Delete a limit."""
    await use.limits.remove(caller, limit_id, expected=expected)
    return DeletedLimitAnswer(id=limit_id)
