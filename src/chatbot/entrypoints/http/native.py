"""The native surface: JSON bodies, an API key in `X-API-Key`, problem documents for errors."""

import re

from starlette.requests import HTTPConnection

from chatbot.domain.assertions import END_USER
from chatbot.domain.authorization import of_client
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.identity import Principal
from chatbot.entrypoints.container.use_cases import UseCases
from chatbot.entrypoints.http.body import ANY, BodyFormat
from chatbot.entrypoints.http.credential_cache import CredentialCache
from chatbot.entrypoints.http.deps.caller import ASSERTION, BEARER
from chatbot.entrypoints.http.errors import ErrorDetails, Rejected, example_of
from chatbot.entrypoints.http.json_body import json_body
from chatbot.entrypoints.http.problem import PROBLEM
from chatbot.entrypoints.http.routes import (
    admin_audit,
    admin_keys,
    admin_limits,
    admin_roles,
    admin_users,
    chat,
    documents,
    health,
    identity,
    memory,
    metrics,
    oversight,
    person_memory,
    personal_data,
    search,
    sessions,
    usage,
)
from chatbot.entrypoints.http.surfaces import Authenticate, Surface, Uploads, source_of
from chatbot.entrypoints.http.uploads import FIELDS_BYTES, FORM, JSON
from chatbot.entrypoints.web import docs_page

PUBLIC_PATHS = frozenset({"/health", "/ready"}) | docs_page.PATHS

KEY_TTL_S = 2.5
"""How long a key is cached. With `CHECK_EVERY_S`, an answer that begins with a key that was just
revoked ends within 5 s of the revocation, too."""

_KIB = 1024
_UPLOAD_S = 300.0
"""25 MiB at 90 KB/s."""
_CHALLENGE = {"WWW-Authenticate": 'ApiKey header="X-API-Key"'}
_NO_KEY = ErrorDetails(
    status=401,
    code="unauthenticated",
    detail="The X-API-Key header is missing.",
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
    ASSERTION: {
        "type": "apiKey",
        "in": "header",
        "name": END_USER.header,
        "description": "Names the person for whom the application calls: a JWT that it signs. See "
        "docs/api.md.",
    },
    BEARER: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Identifies the user: the `access_token` of `POST /auth/login`.",
    },
}


def native_surface(use: UseCases) -> Surface:
    """Returns the surface of every path that no other surface has."""
    max_prompt_chars = use.settings.assistant.max_prompt_chars
    return Surface(
        prefix="",
        authenticate=_by_api_key(use),
        assertion=END_USER,
        errors=PROBLEM,
        bodies=(json_body(max_bytes=max(64 * _KIB, 12 * max_prompt_chars + 4 * _KIB)),),
        public=PUBLIC_PATHS,
        uploads=uploads(max_bytes=use.settings.documents.max_bytes),
        routers=tuple(
            each.router
            for each in (
                health,
                identity,
                chat,
                sessions,
                memory,
                documents,
                search,
                person_memory,
                metrics,
                admin_audit,
                admin_keys,
                oversight,
                admin_roles,
                admin_users,
                admin_limits,
                usage,
                personal_data,
            )
        ),
        credential="api_key",
        credential_errors=(_NO_KEY, _WRONG_KEY, example_of(StorageUnavailable)),
        security_schemes=_SECURITY_SCHEMES,
    )


def uploads(*, max_bytes: int) -> tuple[Uploads, ...]:
    """Returns the calls that upload a file of at most this size, and their bodies.

    They match every method, because the router decides which ones exist. The form around a file,
    and JSON around a text, may add some bytes.
    """
    form, json, any_other = (
        BodyFormat(media_type=media_type, max_bytes=max_bytes + FIELDS_BYTES, deadline_s=_UPLOAD_S)
        for media_type in (FORM, JSON, ANY)
    )
    return (
        Uploads(calls=re.compile(r"\w+ /documents"), bodies=(form, json)),
        Uploads(calls=re.compile(r"\w+ /documents/[^/]+/content"), bodies=(form, json, any_other)),
    )


def _by_api_key(use: UseCases) -> Authenticate:
    """Returns how callers authenticate: with the key of the settings, or one of the store.

    The key of the settings is compared in memory, so that it works while the store does not.
    """
    stored_keys = CredentialCache(use.key_identification.look_up, ttl_s=KEY_TTL_S)

    async def authenticate(connection: HTTPConnection) -> Principal:
        raw_key = connection.headers.get("x-api-key")
        if raw_key is None:
            raise Rejected(_NO_KEY)
        client = use.identify_client(raw_key)
        if client is not None:
            return of_client(client)
        known = await stored_keys.identify(raw_key)
        if known is None or not use.key_identification.is_live(known):
            raise Rejected(_WRONG_KEY)
        principal = of_client(known.client, source_of(connection.scope))
        use.key_use.note(principal)
        return principal

    return authenticate
