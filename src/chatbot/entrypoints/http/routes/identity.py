"""POST /auth/login and GET /me: who is calling."""

from chatbot.domain.errors import (
    InvalidCredentials,
    RateLimited,
    ShuttingDown,
    StorageFull,
    StorageUnavailable,
)
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.deps.caller import ClientIp, CurrentUser
from chatbot.entrypoints.http.deps.parameters import UseCases
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.schemas.identity import LoginBody, MeAnswer, TokenAnswer

router = routing.router(tag="identity")


@router.post("/auth/login")
@documented(InvalidCredentials, RateLimited, ShuttingDown, StorageUnavailable, StorageFull)
async def login(body: LoginBody, client_ip: ClientIp, use: UseCases) -> TokenAnswer:
    """Exchange e-mail and password for an access token."""
    token = await use.authentication.login(body.email, body.password, client_ip=client_ip)
    return TokenAnswer(access_token=token.access_token, expires_in=token.expires_in)


@router.get("/me")
async def me(user: CurrentUser) -> MeAnswer:
    """Return the user of the token."""
    return MeAnswer.model_validate(user)
