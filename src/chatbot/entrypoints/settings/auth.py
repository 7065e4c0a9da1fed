"""The settings about callers: API_KEY, JWT_..., API_KEY_PEPPER..., AUDIT_KEY..., and sign-ins."""

import hmac
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from chatbot.entrypoints.settings.secret_strength import check_secret
from chatbot.entrypoints.settings.subject import File, Subject

_PEPPER, _AUDIT = b"chatbot API key pepper", b"chatbot audit key"


def _checked(secret: SecretStr) -> SecretStr:
    check_secret(secret.get_secret_value())
    return secret


def _checked_word(secret: SecretStr) -> SecretStr:
    """Accept only characters that are allowed in a list, because older secrets are kept in one."""
    value = secret.get_secret_value()
    if "," in value or any(char.isspace() for char in value):
        raise ValueError("contains a space or a comma")
    return _checked(secret)


def _words(raw: object) -> object:
    return tuple(raw.replace(",", " ").split()) if isinstance(raw, str) else raw


def _checked_words(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    return tuple(map(_checked_word, secrets))


StrongSecret = Annotated[SecretStr, AfterValidator(_checked)]
StrongWord = Annotated[SecretStr, AfterValidator(_checked_word)]
StrongWords = Annotated[
    tuple[SecretStr, ...], BeforeValidator(_words), AfterValidator(_checked_words)
]


class AuthSettings(Subject):
    """Secrets, each with its predecessors, newest first, which only verify.

    A pepper or audit key that is not set is derived from JWT_SECRET, so that an older `.env` still
    works; `chatbot init --upgrade` writes them to `.env`, so that JWT_SECRET can be changed alone.
    """

    api_key: StrongSecret
    api_key_file: File | None = None
    jwt_secret: StrongSecret
    jwt_secret_file: File | None = None
    jwt_secret_previous: StrongSecret | None = None
    jwt_secret_previous_file: File | None = None
    api_key_pepper: StrongWord | None = None
    api_key_pepper_file: File | None = None
    api_key_pepper_previous: StrongWords = ()
    api_key_pepper_previous_file: File | None = None
    audit_key: StrongWord | None = None
    audit_key_file: File | None = None
    audit_key_previous: StrongWords = ()
    audit_key_previous_file: File | None = None
    jwt_ttl_minutes: int = Field(default=60, ge=1, le=60 * 24)
    refresh_ttl_days: int = Field(default=14, ge=1, le=365)
    require_user: bool = False
    provision_users: bool = False

    @property
    def jwt_secrets(self) -> tuple[str, ...]:
        """The secret that signs tokens, then the one that only verifies them, if any."""
        secrets = (self.jwt_secret, self.jwt_secret_previous)
        return tuple(each.get_secret_value() for each in secrets if each is not None)

    @property
    def api_key_peppers(self) -> tuple[str, ...]:
        """The keys of the digests of API keys: the first one creates them, all verify them."""
        return self._all(self.api_key_pepper, self.api_key_pepper_previous, _PEPPER)

    @property
    def audit_keys(self) -> tuple[str, ...]:
        """The keys of the audit's chain: the first one continues it, all verify it."""
        return self._all(self.audit_key, self.audit_key_previous, _AUDIT)

    @property
    def raw_audit_key(self) -> str:
        """The current audit key."""
        return self.audit_keys[0]

    def named_secrets(self) -> Iterator[tuple[str, str]]:
        """Yield every secret with the name of its setting."""
        yield "API_KEY", self.api_key.get_secret_value()
        for name, values in (
            ("JWT_SECRET", self.jwt_secrets),
            ("API_KEY_PEPPER", self.api_key_peppers),
            ("AUDIT_KEY", self.audit_keys),
        ):
            yield name, values[0]
            yield from ((f"{name}_PREVIOUS", each) for each in values[1:])

    def _all(
        self, given: SecretStr | None, previous: tuple[SecretStr, ...], purpose: bytes
    ) -> tuple[str, ...]:
        older = [each.get_secret_value() for each in previous]
        if given is not None:
            return given.get_secret_value(), *older
        newest, *before = (_derived(secret, purpose) for secret in self.jwt_secrets)
        return newest, *older, *before


def _derived(jwt_secret: str, purpose: bytes) -> str:
    return hmac.digest(jwt_secret.encode(), purpose, "sha256").hex()
