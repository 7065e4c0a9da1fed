"""What a route's signature can ask for: who is calling, and the use cases."""

import re
from typing import Annotated, cast

from fastapi import Body, Depends, Path, Request
from pydantic import BeforeValidator

from chatbot.domain.chat import SessionId, is_session_id
from chatbot.domain.errors import NotFound, Unauthenticated
from chatbot.domain.identity import Client, Principal, User
from chatbot.entrypoints.container import Container
from chatbot.entrypoints.http.wire import NoFields

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON parser keeps exactly (RFC 7493), and every store takes."""

_DIGITS = re.compile("[0-9]{1,16}", re.ASCII)


def _digits(raw: object) -> object:
    """Digits and nothing else: pydantic takes ` 1`, `+1`, `1_0` and `1.0` for numbers, too."""
    if isinstance(raw, str) and _DIGITS.fullmatch(raw) is None:
        raise ValueError("must be a whole number, in digits")
    return raw


DIGITS = BeforeValidator(_digits)


def container_of(request: Request) -> Container:
    """The container of the application that serves this request."""
    return cast("Container", request.app.state.container)


async def _caller(request: Request) -> Principal:
    """The API client that the edge let in, on behalf of the user whom the token names."""
    client = cast("Client", request.state.client)
    authentication = container_of(request).authentication()
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


async def _current_user(caller: Caller) -> User:
    if caller.user is None:
        raise Unauthenticated("This needs a user: send the header Authorization.")
    return caller.user


CurrentUser = Annotated[User, Depends(_current_user)]


async def _peer(request: Request) -> str:
    """The caller's network address: as uvicorn saw it, or as a trusted proxy names it."""
    return request.client.host if request.client is not None else ""


Peer = Annotated[str, Depends(_peer)]


async def _no_fields(_: Annotated[NoFields, Body(default_factory=NoFields)]) -> None:
    """Refuse a body with fields, as every other route refuses fields that it does not know."""


WithoutFields = Depends(_no_fields)


def session_id_of(request: Request, raw: str) -> SessionId:
    """The session id, noted for the log.

    Raises:
        NotFound: it has not the form of one, so that there is no such session.
    """
    if not is_session_id(raw):
        raise NotFound
    request.state.log["session_id"] = raw
    return SessionId(raw)


async def _path_session_id(
    request: Request, session_id: Annotated[str, Path(examples=["0123456789abcdef" * 2])]
) -> SessionId:
    return session_id_of(request, session_id)


PathSessionId = Annotated[SessionId, Depends(_path_session_id)]


async def _use_cases(request: Request) -> Container:
    """`container_of` on the event loop: FastAPI takes a plain function to a thread."""
    return container_of(request)


UseCases = Annotated[Container, Depends(_use_cases)]
