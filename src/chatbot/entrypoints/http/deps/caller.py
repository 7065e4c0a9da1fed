"""Who is calling. Such a parameter in its signature says who may call a route."""

from typing import Annotated, cast

from fastapi import Depends, Request

from chatbot.domain.errors import (
    InvalidToken,
    PasswordChangeRequired,
    RateLimited,
    StorageUnavailable,
    Unauthenticated,
)
from chatbot.domain.identity import Principal, User
from chatbot.entrypoints.http.deps.parameters import UseCases
from chatbot.entrypoints.http.documented import documented

BEARER = "bearer"
"""The name of the security scheme of access tokens."""
_NO_USER = "This call needs a user: log in and send the header Authorization."


async def _application(request: Request) -> Principal:
    """Returns the API client that the guard authenticated; a token is not looked at."""
    return cast("Principal", request.state.principal)


Application = Annotated[Principal, Depends(_application)]


@documented(Unauthenticated, InvalidToken, RateLimited, StorageUnavailable, token=BEARER)
async def _anyone(request: Request, application: Application, use: UseCases) -> Principal:
    """Returns the API client, with the user of the token, if any; also one with a one-time password.

    It counts the request: log-in and refresh, which have no such parameter, are throttled in their
    own way.
    """
    principal = await use.authentication.identify(application, _bearer(request))
    if principal.user is not None:
        request.state.log["user_id"] = principal.user.id
    await use.request_limits.count(principal)
    return principal


Anyone = Annotated[Principal, Depends(_anyone)]
"""For calls that work without a user even with `REQUIRE_USER`, or with a one-time password."""


@documented(PasswordChangeRequired)
async def _caller(anyone: Anyone, use: UseCases) -> Principal:
    if anyone.user is not None and anyone.user.one_time_until is not None:
        raise PasswordChangeRequired
    if anyone.user is None and use.settings.auth.require_user:
        raise Unauthenticated(_NO_USER)
    return anyone


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
        raise Unauthenticated(_NO_USER)
    return caller.user


CurrentUser = Annotated[User, Depends(_current_user)]


@documented(Unauthenticated, token=BEARER, needs_token=True)
async def _user_before_password_change(anyone: Anyone) -> Principal:
    if anyone.user is None:
        raise Unauthenticated(_NO_USER)
    return anyone


UserBeforePasswordChange = Annotated[Principal, Depends(_user_before_password_change)]
"""A user, whose password may be a one-time password."""
