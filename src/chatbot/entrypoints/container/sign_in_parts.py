"""Builds the identification of callers: API keys, passwords, tokens and assertions."""

import hmac
import secrets
from datetime import timedelta

from chatbot.adapters.security.api_keys import identify_by_setting
from chatbot.adapters.security.argon2_hasher import Argon2Hasher
from chatbot.adapters.security.jose_assertions import JoseAssertions
from chatbot.adapters.security.jose_tokens import JoseTokens
from chatbot.adapters.security.refresh_tokens import HmacRefreshTokens
from chatbot.application.api_keys import ApiKeys
from chatbot.application.audit_queue import AuditQueue
from chatbot.application.auditing import Auditing
from chatbot.application.authentication import Authentication
from chatbot.application.end_users import EndUsers
from chatbot.application.key_identification import KeyIdentification
from chatbot.application.token_pairs import TokenPairs
from chatbot.domain.ports.security import IdentifyClient, PasswordHasher, Tokens
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.container.parts import random_id, utc_now
from chatbot.entrypoints.settings import Settings


def build_identify_client(settings: Settings) -> IdentifyClient:
    return identify_by_setting(settings.auth.api_key.get_secret_value())


def build_key_identification(settings: Settings, storage: Storage) -> KeyIdentification:
    return KeyIdentification(storage, peppers=_peppers(settings), clock=utc_now)


def build_api_keys(settings: Settings, storage: Storage, auditing: Auditing) -> ApiKeys:
    return ApiKeys(
        storage, auditing, pepper=_peppers(settings)[0], clock=utc_now, random=secrets.token_bytes
    )


def build_end_users(settings: Settings, storage: Storage, auditing: Auditing) -> EndUsers:
    return EndUsers(
        storage,
        JoseAssertions(clock=utc_now),
        auditing,
        clock=utc_now,
        new_id=random_id,
        provisions=settings.auth.provision_users,
    )


def _peppers(settings: Settings) -> list[bytes]:
    """Returns the keys of the digests of API keys, newest first."""
    return [each.encode() for each in settings.auth.api_key_peppers]


def build_tokens(settings: Settings) -> Tokens:
    secret, *previous = settings.auth.jwt_secrets
    ttl_s = settings.auth.jwt_ttl_minutes * 60
    return JoseTokens(secret, previous=previous, ttl_s=ttl_s, clock=utc_now)


def build_token_pairs(
    settings: Settings, storage: Storage, tokens: Tokens, auditing: Auditing, queue: AuditQueue
) -> TokenPairs:
    secret, *previous = settings.auth.jwt_secrets
    return TokenPairs(
        storage,
        tokens,
        HmacRefreshTokens(secret, previous=previous),
        auditing,
        queue,
        clock=utc_now,
        new_id=random_id,
        lifetime=timedelta(days=settings.auth.refresh_ttl_days),
    )


def build_hasher() -> PasswordHasher:
    return Argon2Hasher()


def build_authentication(
    settings: Settings,
    storage: Storage,
    hasher: PasswordHasher,
    tokens: Tokens,
    *,
    token_pairs: TokenPairs,
    auditing: Auditing,
    queue: AuditQueue,
) -> Authentication:
    jwt_secret = settings.auth.jwt_secret.get_secret_value().encode()
    return Authentication(
        storage,
        hasher,
        tokens,
        token_pairs,
        auditing,
        queue=queue,
        clock=utc_now,
        processes=settings.http.workers,
        throttle_secret=hmac.digest(jwt_secret, b"chatbot log-in attempts", "sha256"),
    )
