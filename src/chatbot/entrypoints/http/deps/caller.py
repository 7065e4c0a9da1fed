"""The caller of a route.

The type of this parameter in the signature of a route defines who may call it.
"""

from dataclasses import replace
from typing import Annotated, cast

from fastapi import Depends, Request

from chatbot.application.request_limits import RequestCount
from chatbot.domain.errors import (
    AuditUnavailable,
    Forbidden,
    InvalidToken,
    PasswordChangeRequired,
    RateLimited,
    StorageFull,
    StorageUnavailable,
    Unauthenticated,
    UnknownUser,
)
from chatbot.domain.identity import Principal, User
from chatbot.entrypoints.container import use_cases
from chatbot.entrypoints.http.deps.parameters import UseCases
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.errors import BAD_REQUEST, Rejected
from chatbot.entrypoints.http.surfaces import Surface

BEARER = "bearer"
"""The name of the security scheme of access tokens."""
ASSERTION = "end_user"
"""The name of the security scheme of assertions."""
PEOPLE = (BEARER, ASSERTION)
_NO_USER = "This call requires a user: log in and send the Authorization header."


async def _application(request: Request) -> Principal:
    """Returns the API client that the guard authenticated; ignores tokens."""
    return cast("Principal", request.state.principal)


Application = Annotated[Principal, Depends(_application)]


@documented(
    *(Unauthenticated, InvalidToken, UnknownUser, Forbidden, RateLimited),
    *(StorageUnavailable, AuditUnavailable, StorageFull),
    tokens=PEOPLE,
)
async def _anyone(request: Request, application: Application, use: UseCases) -> Principal:
    """Returns the API client, with the user of the token, if any, even if logged in with a one-time
    password.

    It counts the request. Log-in and refresh have no such parameter: failed log-ins are throttled,
    and a refresh token can be used once.
    """
    async with use.request_limits.counting() as counting:
        principal = await _identified(request, application, use, counting)
        if principal.user is not None:
            request.state.log["user_id"] = principal.user.id
            request.state.caller = principal
        await counting.finish(principal)
    return principal


async def _identified(
    request: Request, application: Principal, use: use_cases.UseCases, counting: RequestCount
) -> Principal:
    raw_token, kind = _bearer(request), cast("Surface", request.state.surface).assertion
    raw_assertion = None if kind is None else request.headers.get(kind.header)
    if kind is None or raw_assertion is None:
        return await use.authentication.identify(application, raw_token, counting)
    if raw_token is not None:
        detail = f"Send either Authorization or {kind.header}, not both."
        raise Rejected(replace(BAD_REQUEST, detail=detail))
    return await use.end_users.identify(application, raw_assertion, kind)


Anyone = Annotated[Principal, Depends(_anyone)]


@documented(PasswordChangeRequired)
async def _settled(anyone: Anyone) -> Principal:
    if anyone.must_change_password:
        raise PasswordChangeRequired
    return anyone


Settled = Annotated[Principal, Depends(_settled)]
"""For calls that work without a user even with `REQUIRE_USER`."""


async def _caller(settled: Settled, use: UseCases) -> Principal:
    if settled.user is None and use.settings.auth.require_user:
        raise Unauthenticated(_NO_USER)
    return settled


def _bearer(request: Request) -> str | None:
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, raw_token = header.partition(" ")
    if scheme.lower() != "bearer" or not raw_token.strip():
        raise Unauthenticated("The Authorization header must have the form `Bearer <token>`.")
    return raw_token.strip()


Caller = Annotated[Principal, Depends(_caller)]


@documented(Unauthenticated, tokens=PEOPLE, needs_token=True)
async def _current_user(caller: Caller) -> User:
    if caller.user is None:
        raise Unauthenticated(_NO_USER)
    return caller.user


CurrentUser = Annotated[User, Depends(_current_user)]


@documented(Unauthenticated, tokens=PEOPLE, needs_token=True)
async def _user_before_password_change(anyone: Anyone) -> Principal:
    if anyone.user is None:
        raise Unauthenticated(_NO_USER)
    return anyone


UserBeforePasswordChange = Annotated[Principal, Depends(_user_before_password_change)]
"""A user, whose password may be a one-time password."""
