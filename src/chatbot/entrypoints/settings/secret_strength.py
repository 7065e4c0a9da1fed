"""Validates and generates secrets."""

import secrets
from collections.abc import Iterable

from chatbot.domain.common_passwords import unpredictable_chars

MIN_SECRET_CHARS = 32
MIN_UNPREDICTABLE_CHARS = 16
RANDOM_BYTES = 32  # 256 bits, as much as HMAC-SHA-256 can use

_WORDS_OF_EXAMPLES = (
    *("apikey", "jwt", "key", "token", "string", "value", "placeholder", "sample", "replace"),
    *("your", "this", "very", "long", "super", "random", "production", "development", "dev"),
    *("change", "before", "must", "should", "least", "minimum", "chars", "characters", "bytes"),
    *("clave", "muy", "larga", "larguisima", "cambia", "cambiar", "esta", "aleatoria", "minimo"),
)


def check_secret(value: str) -> None:
    """Check that the value is strong enough as a secret. The message never repeats the value.

    Raises:
        ValueError: it is missing, short, or an example: built from typical example words
            (`changeme`, `very-long-secret`), a keyboard run, or a repetition.
    """
    if not value.strip():
        raise ValueError("is not set")
    if len(value) < MIN_SECRET_CHARS:
        raise ValueError(f"needs at least {MIN_SECRET_CHARS} characters")
    if unpredictable_chars(value, also=_WORDS_OF_EXAMPLES) < MIN_UNPREDICTABLE_CHARS:
        raise ValueError("is an example or easy to guess")


def check_distinct(values: Iterable[tuple[str, str]]) -> None:
    """Check that no two settings have the same secret, ignoring empty ones and white space around.

    `values` are names of settings, each with a value.

    If one secret served two purposes, say as an API key that also signs tokens, anyone who knows it
    would have both.

    Raises:
        ValueError: two are equal; the message names them and repeats no value.
    """
    first_name: dict[str, str] = {}
    for name, value in values:
        other = first_name.setdefault(value.strip(), name) if value.strip() else name
        if other != name:
            raise ValueError(f"{name}: must differ from {other}: use each secret for one purpose")


def random_secret() -> str:
    """Returns a new secret of 43 characters that never needs quoting."""
    return secrets.token_urlsafe(RANDOM_BYTES)
