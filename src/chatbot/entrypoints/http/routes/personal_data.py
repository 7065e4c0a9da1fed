"""Export and erasure of all data about a person."""

from typing import Annotated

from fastapi import Path, Query, Response

from chatbot.domain.errors import (
    AuditUnavailable,
    Forbidden,
    InvalidCredentials,
    LastAdministrator,
    NotFound,
    RateLimited,
    SessionBusy,
    SessionHeld,
    ShuttingDown,
    StorageFull,
)
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.deps.caller import Caller, CurrentUser
from chatbot.entrypoints.http.deps.parameters import UseCases
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.personal_archive import DOCUMENTED, archive_stream
from chatbot.entrypoints.http.schemas.erasure import ErasedAnswer, ErasureBody, ReceiptAnswer
from chatbot.entrypoints.http.schemas.oversight import REASON

router = routing.router(tag="personal_data")


@router.get("/me/export", response_class=Response, responses={200: DOCUMENTED})
@documented(Forbidden, AuditUnavailable)
async def export_own(_: CurrentUser, caller: Caller, use: UseCases) -> Response:
    """Export all data about the caller as a ZIP file.

    The file is streamed. A conversation that is deleted in the meantime is marked as incomplete or
    left out.
    """
    data = await use.data_export.own(caller)
    return archive_stream(data, use.settings.assistant.default_preferences)


@router.delete("/me")
@documented(
    *(InvalidCredentials, RateLimited, ShuttingDown, LastAdministrator, SessionHeld, SessionBusy),
    *(AuditUnavailable, StorageFull),
)
async def erase_own(
    body: ErasureBody, _: CurrentUser, caller: Caller, use: UseCases
) -> ErasedAnswer:
    """Permanently erase the caller and all data about them."""
    receipt = await use.own_erasure.erase(caller, body.password)
    return ErasedAnswer(receipt=ReceiptAnswer.of(receipt))


@router.get("/admin/users/{user_id}/export", response_class=Response, responses={200: DOCUMENTED})
@documented(Forbidden, NotFound, AuditUnavailable)
async def export(
    user_id: Annotated[str, Path(description="The id of the user.")],
    caller: Caller,
    use: UseCases,
    reason: Annotated[str | None, Query(description=REASON)] = None,
) -> Response:
    """Export all data about a user as a ZIP file.

    The export appears in the user's `GET /me/access-log`, with the reason. Requires `users.read` and `sessions.read_any`.
    """
    data = await use.data_export.of(caller, user_id, reason)
    return archive_stream(data, use.settings.assistant.default_preferences)
