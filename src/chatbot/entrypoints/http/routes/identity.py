"""POST /auth/...: sign-ins; GET /me: who is calling; POST /me/password."""

from typing import Annotated

from fastapi import Body

from chatbot.domain.errors import (
    AuditUnavailable,
    Conflict,
    InvalidCredentials,
    InvalidToken,
    RateLimited,
    ShuttingDown,
    StorageFull,
    StorageUnavailable,
)
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.deps.caller import (
    Application,
    Caller,
    CurrentUser,
    Settled,
    UserBeforePasswordChange,
)
from chatbot.entrypoints.http.deps.parameters import UseCases, WithoutFields
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.schemas.identity import (
    LoginBody,
    LogoutAnswer,
    LogoutBody,
    MeAnswer,
    PasswordBody,
    RefreshBody,
    TokenAnswer,
)

router = routing.router(tag="identity")

_STORAGE = (StorageUnavailable, StorageFull, AuditUnavailable)


@router.post("/auth/login")
@documented(InvalidCredentials, RateLimited, ShuttingDown, *_STORAGE)
async def login(body: LoginBody, application: Application, use: UseCases) -> TokenAnswer:
    """Exchange an e-mail address and a password for an access token and a refresh token."""
    pair = await use.authentication.login(application, body.email, body.password)
    return TokenAnswer.model_validate(pair)


@router.post("/auth/refresh")
@documented(InvalidToken, *_STORAGE)
async def refresh(body: RefreshBody, application: Application, use: UseCases) -> TokenAnswer:
    """Exchange a refresh token for a new pair of tokens; each refresh token can be used once."""
    pair = await use.token_pairs.refresh(application, body.refresh_token)
    return TokenAnswer.model_validate(pair)


@router.post("/auth/logout")
@documented(*_STORAGE)
async def logout(
    body: Annotated[LogoutBody, Body(default_factory=LogoutBody)], caller: Settled, use: UseCases
) -> LogoutAnswer:
    """End the sign-in of the refresh token, or of the access token if none is sent."""
    await use.token_pairs.end(caller, body.refresh_token)
    return LogoutAnswer()


@router.post("/auth/logout-all", dependencies=[WithoutFields])
@documented(*_STORAGE)
async def logout_all(user: CurrentUser, caller: Caller, use: UseCases) -> LogoutAnswer:
    """End all sign-ins of the current user, including this one."""
    await use.token_pairs.end_all(caller, user)
    return LogoutAnswer()


@router.get("/me")
async def me(user: CurrentUser) -> MeAnswer:
    """Return the current user."""
    return MeAnswer.model_validate(user)


@router.post("/me/password")
@documented(InvalidCredentials, RateLimited, ShuttingDown, Conflict, *_STORAGE)
async def change_password(
    body: PasswordBody, caller: UserBeforePasswordChange, use: UseCases
) -> TokenAnswer:
    """Change the caller's password, end all sign-ins and start a new one.

    This is the only call that is allowed after logging in with a one-time password.
    """
    pair = await use.own_password.change(caller, body.current_password, body.new_password)
    return TokenAnswer.model_validate(pair)
