"""Reading and holding conversations of others for data protection, and the log that their owners see."""

from chatbot.domain.errors import (
    AuditUnavailable,
    Conflict,
    Forbidden,
    NotFound,
    SessionBusy,
    StorageFull,
)
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.deps.caller import Caller, CurrentUser
from chatbot.entrypoints.http.deps.parameters import (
    AfterAccess,
    AnySessionId,
    Before,
    Limit,
    UseCases,
)
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.schemas.oversight import (
    AccessLogAnswer,
    AnySessionAnswer,
    HoldAnswer,
    ReasonBody,
)

router = routing.router(tag="data_protection")
_ERRORS = (Forbidden, NotFound, Conflict, SessionBusy, AuditUnavailable, StorageFull)


@router.post("/admin/sessions/{session_id}/read")
@documented(*_ERRORS)
async def read(
    body: ReasonBody,
    caller: Caller,
    session_id: AnySessionId,
    use: UseCases,
    *,
    limit: Limit = 50,
    before: Before = None,
) -> AnySessionAnswer:
    """Read any session; requires a reason, which the owner sees."""
    view = await use.oversight.read(caller, session_id, body.reason, limit=limit, before=before)
    return AnySessionAnswer.of_any(view, use.settings.assistant.default_preferences)


@router.post("/sessions/{session_id}/hold")
@documented(*_ERRORS)
async def hold(
    body: ReasonBody, caller: Caller, session_id: AnySessionId, use: UseCases
) -> HoldAnswer:
    """Put any session on hold, so that it cannot be reset or deleted until it is released."""
    return HoldAnswer.of(await use.oversight.hold(caller, session_id, body.reason))


@router.post("/sessions/{session_id}/release")
@documented(*_ERRORS)
async def release(
    body: ReasonBody, caller: Caller, session_id: AnySessionId, use: UseCases
) -> HoldAnswer:
    """Release a session from a hold."""
    return HoldAnswer.of(await use.oversight.release(caller, session_id, body.reason))


@router.get("/me/access-log")
async def access_log(
    user: CurrentUser, use: UseCases, limit: Limit = 50, after: AfterAccess = ""
) -> AccessLogAnswer:
    """List accesses of others to the caller's conversations, newest first."""
    page = await use.oversight.accesses(user.id, limit=limit, after=after)
    return AccessLogAnswer.model_validate(page)
