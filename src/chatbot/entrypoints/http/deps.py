"""Dependencies for route signatures: the caller and the use cases."""

import re
from typing import Annotated, cast

from fastapi import Body, Depends, Path, Request
from pydantic import BeforeValidator

from chatbot.domain.chat import SessionId, is_session_id
from chatbot.domain.errors import InvalidToken, NotFound, StorageUnavailable, Unauthenticated
from chatbot.domain.identity import Principal, User
from chatbot.entrypoints.container import UseCases as AllUseCases
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.schemas.base import SESSION_ID, NoFields

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON parser (RFC 7493) and every store keeps exactly."""

BEARER = "bearer"
"""The name of the security scheme of access tokens."""

_DIGITS = re.compile("[0-9]{1,16}", re.ASCII)


def _digits(raw: object) -> object:
    """Digits only: pydantic would also accept ` 1`, `+1`, `1_0` and `1.0` as numbers."""
    if isinstance(raw, str) and _DIGITS.fullmatch(raw) is None:
        raise ValueError("must be a whole number, in digits")
    return raw


DIGITS = BeforeValidator(_digits)


def use_cases_of(request: Request) -> AllUseCases:
    """Returns the use cases of the application that serves this request."""
    return cast("AllUseCases", request.app.state.use_cases)


@documented(Unauthenticated, InvalidToken, StorageUnavailable, token=BEARER)
async def _caller(request: Request) -> Principal:
    """Returns the API client that the guard authenticated, with the user of the token, if any."""
    client = cast("Principal", request.state.principal).client
    authentication = use_cases_of(request).authentication
    principal = await authentication.identify(client, _bearer(request))
    if principal.user is not None:
        request.state.log["user_id"] = principal.user.id
    return principal


def _bearer(request: Request) -> str | None:
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, raw_token = header.partition(" ")
    if scheme.lower() != "bearer" or not raw_token.strip():
        raise Unauthenticated("The header Authorization must be `Bearer <token>`.")
    return raw_token.strip()


Caller = Annotated[Principal, Depends(_caller)]


@documented(Unauthenticated, token=BEARER, needs_token=True)
async def _current_user(caller: Caller) -> User:
    if caller.user is None:
        raise Unauthenticated("This call needs a user: log in and send the header Authorization.")
    return caller.user


CurrentUser = Annotated[User, Depends(_current_user)]


async def _client_ip(request: Request) -> str:
    """Returns the client's network address, as uvicorn saw it or as a trusted proxy reports it."""
    return request.client.host if request.client is not None else ""


ClientIp = Annotated[str, Depends(_client_ip)]


async def _no_fields(_: Annotated[NoFields, Body(default_factory=NoFields)]) -> None:
    """Reject a body with fields, as every other route rejects unknown fields."""


WithoutFields = Depends(_no_fields)


def session_id_of(request: Request, raw: str) -> SessionId:
    """Returns the session id, and adds it to the log line.

    Raises:
        NotFound: the id is malformed, so no such session exists.
    """
    if not is_session_id(raw):
        raise NotFound
    request.state.log["session_id"] = raw
    return SessionId(raw)


@documented(NotFound)
async def _path_session_id(
    request: Request,
    session_id: Annotated[str, Path(description="The id of a session.", examples=[SESSION_ID])],
) -> SessionId:
    return session_id_of(request, session_id)


PathSessionId = Annotated[SessionId, Depends(_path_session_id)]


async def _use_cases(request: Request) -> AllUseCases:
    """`use_cases_of` on the event loop: FastAPI runs plain functions in a thread."""
    return use_cases_of(request)


UseCases = Annotated[AllUseCases, Depends(_use_cases)]
