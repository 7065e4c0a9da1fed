"""Who is calling. Such a parameter in its signature says who may call a route."""

from typing import Annotated, cast

from fastapi import Depends, Request

from chatbot.domain.errors import InvalidToken, RateLimited, StorageUnavailable, Unauthenticated
from chatbot.domain.identity import Principal, User
from chatbot.entrypoints.http.deps.parameters import UseCases
from chatbot.entrypoints.http.documented import documented

BEARER = "bearer"
"""The name of the security scheme of access tokens."""


@documented(Unauthenticated, InvalidToken, RateLimited, StorageUnavailable, token=BEARER)
async def _caller(request: Request, use: UseCases) -> Principal:
    """Returns the API client that the guard authenticated, with the user of the token, if any.

    It counts the request: a log-in, which has no such parameter, is throttled in its own way.
    """
    caller = cast("Principal", request.state.principal)
    principal = await use.authentication.identify(caller, _bearer(request))
    if principal.user is not None:
        request.state.log["user_id"] = principal.user.id
    await use.request_limits.count(principal)
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
