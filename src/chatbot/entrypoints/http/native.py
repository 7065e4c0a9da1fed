"""The native surface: JSON bodies, an API key in `X-API-Key`, problem documents for errors."""

from dataclasses import replace

from starlette.requests import HTTPConnection

from chatbot.domain.authorization import of_client
from chatbot.domain.identity import Principal
from chatbot.domain.ports.security import IdentifyClient
from chatbot.entrypoints.http import strict_json
from chatbot.entrypoints.http.body import BodyFormat
from chatbot.entrypoints.http.deps.caller import BEARER
from chatbot.entrypoints.http.errors import BAD_REQUEST, ErrorDetails, Rejected
from chatbot.entrypoints.http.problem import PROBLEM
from chatbot.entrypoints.http.routes import admin_audit, chat, health, identity, memory, sessions
from chatbot.entrypoints.http.surfaces import Authenticate, Surface
from chatbot.entrypoints.web import docs_page

PUBLIC_PATHS = frozenset({"/health", "/ready"}) | docs_page.PATHS

_KIB = 1024
_CHALLENGE = {"WWW-Authenticate": 'ApiKey header="X-API-Key"'}
_NO_KEY = ErrorDetails(
    status=401,
    code="unauthenticated",
    detail="The header X-API-Key is missing.",
    headers=_CHALLENGE,
)
_WRONG_KEY = ErrorDetails(
    status=401, code="invalid_api_key", detail="The API key is invalid.", headers=_CHALLENGE
)
_SECURITY_SCHEMES = {
    "api_key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "Identifies the calling application.",
    },
    BEARER: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Identifies the user: the `access_token` of `POST /auth/login`.",
    },
}


def native_surface(identify: IdentifyClient, *, max_prompt_chars: int) -> Surface:
    """Returns the surface of every path that no other surface has."""
    return Surface(
        prefix="",
        authenticate=_by_api_key(identify),
        errors=PROBLEM,
        bodies=(json_body(max_bytes=max(64 * _KIB, 12 * max_prompt_chars + 4 * _KIB)),),
        public=PUBLIC_PATHS,
        routers=tuple(
            each.router for each in (health, identity, chat, sessions, memory, admin_audit)
        ),
        credential="api_key",
        credential_errors=(_NO_KEY, _WRONG_KEY),
        security_schemes=_SECURITY_SCHEMES,
    )


def json_body(*, max_bytes: int) -> BodyFormat:
    """Returns the format of strict JSON bodies."""
    return BodyFormat(media_type="application/json", max_bytes=max_bytes, decode=_decoded)


def _decoded(body: bytes) -> object:
    try:
        return strict_json.decode(body)
    except strict_json.NotStrictJson as error:
        raise Rejected(replace(BAD_REQUEST, detail=str(error))) from None


def _by_api_key(identify: IdentifyClient) -> Authenticate:
    async def authenticate(connection: HTTPConnection) -> Principal:
        raw_key = connection.headers.get("x-api-key")
        if raw_key is None:
            raise Rejected(_NO_KEY)
        client = identify(raw_key)
        if client is None:
            raise Rejected(_WRONG_KEY)
        return of_client(client)

    return authenticate
