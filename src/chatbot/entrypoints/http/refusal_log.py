"""Records refused calls in the audit before they are answered; the only place that does."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatbot.domain.audit import Action, AuditEvent, Outcome
from chatbot.domain.authorization import of_nobody
from chatbot.domain.identity import Principal
from chatbot.domain.ports.telemetry import ERROR_CODE
from chatbot.entrypoints.http.surfaces import source_of

Note = Callable[[Principal, AuditEvent], Awaitable[None]]

_CODES = frozenset({"invalid_api_key", "last_administrator"})
"""Refusals by policy whose status also has other reasons."""
_ADMINISTRATION = "/admin"


class RefusalLog:
    """ASGI middleware around the guard.

    Recorded are: every 403, a wrong API key, every 401 of an administrative call, and the refusal to
    remove the last administrator. Expired tokens of people who chat are normal, and are not recorded.
    """

    def __init__(self, app: ASGIApp, *, note: Note) -> None:
        self._app, self._note = app, note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start" and ERROR_CODE in scope["state"]:
                code = scope["state"][ERROR_CODE]
                if _is_refusal(message["status"], code, scope["path"]):
                    await self._note(_caller_in(scope), _event(scope, code))
            await send(message)

        await self._app(scope, receive, send_recorded)


def _is_refusal(status: int, code: str, path: str) -> bool:
    is_administrative = f"{path}/".startswith(f"{_ADMINISTRATION}/")
    return (
        status == HTTPStatus.FORBIDDEN
        or code in _CODES
        or (status == HTTPStatus.UNAUTHORIZED and is_administrative)
    )


def _caller_in(scope: Scope) -> Principal:
    """Returns the caller as far as the call was identified."""
    state = scope["state"]
    known = state.get("caller") or state.get("principal")
    return cast("Principal", known) if known is not None else of_nobody(source_of(scope))


def _event(scope: Scope, code: str) -> AuditEvent:
    path = getattr(scope.get("route"), "path", None) or scope["path"]
    return AuditEvent(
        action=Action.ACCESS_REFUSE,
        outcome=Outcome.REFUSED,
        object_type="route",
        object_id=f"{scope['method']} {path}",
        reason=code,
    )
