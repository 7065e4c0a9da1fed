"""Shared by all our JWTs: their form, their JSON, and strictly typed claims.

The library accepts what RFC 8725 (JWT Best Current Practices) warns of. So it only computes the
HMAC; everything else is checked here.
"""

import base64
import json
import re
from collections.abc import Mapping

from jose import jws
from jose.backends.native import HMACKey
from jose.exceptions import JOSEError

ALGORITHM = "HS256"
AUDIENCE = "chatbot"
MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: a key at least as long as the hash
MAX_TOKEN_CHARS = 4096
MAX_ID_CHARS = 255

INVALID = (JOSEError, ValueError, TypeError, OverflowError, RecursionError)
"""The exceptions for an invalid token."""

_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


def key_of(secret: bytes) -> HMACKey:
    """Return the key for the standard library's HMAC, whatever other backend is installed.

    Raises:
        ValueError: the secret is short, or looks like a public key.
    """
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"the secret that signs tokens needs at least {MIN_SECRET_BYTES} bytes")
    try:
        return HMACKey(secret, ALGORITHM)
    except JOSEError as error:
        raise ValueError("the secret that signs tokens looks like a public key") from error


def header_of(raw_token: str) -> str:
    """Return the first of three parts of canonical base64url.

    Raises:
        ValueError: the token has another shape.
    """
    shape = _SHAPE.fullmatch(raw_token) if len(raw_token) <= MAX_TOKEN_CHARS else None
    if shape is None or not all(map(_is_canonical, shape.groups())):
        raise ValueError("not three parts of base64url")
    return shape.group(1)


def verified(raw_token: str, key: HMACKey) -> Mapping[str, object]:
    """Return the payload of a token whose shape was checked, if the key has signed it.

    Raises:
        JOSEError, ValueError, TypeError, RecursionError: otherwise.
    """
    return parse(jws.verify(raw_token, key, [ALGORITHM]))


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def parse(raw: bytes) -> Mapping[str, object]:
    """Parse a JSON object without duplicate keys (RFC 7519, section 4).

    Raises:
        ValueError, TypeError, RecursionError: it is anything else.
    """
    parsed: object = json.loads(raw.decode(), object_pairs_hook=_object)
    if not isinstance(parsed, dict):
        raise TypeError("not an object")
    return parsed


def text(payload: Mapping[str, object], name: str) -> str:
    """Return a claim that is text without control characters or lone surrogates."""
    value = payload.get(name)
    if not (isinstance(value, str) and value.isprintable() and 0 < len(value) <= MAX_ID_CHARS):
        raise ValueError(f"{name} is not a string")
    return value


def integer(payload: Mapping[str, object], name: str) -> int:
    """Return a claim that is a JSON integer: no text, fraction or boolean."""
    value = payload.get(name)
    if type(value) is not int:
        raise TypeError(f"{name} is not an integer")
    return value


def check_times(
    payload: Mapping[str, object], now: float, *, max_lifetime_s: int, leeway_s: int
) -> int:
    """Return `exp`. The leeway is for `iat` and for `nbf`, if there is one.

    Raises:
        ValueError, TypeError: the token has expired, is not yet valid, or lives for too long.
    """
    issued, expires = integer(payload, "iat"), integer(payload, "exp")
    not_before = integer(payload, "nbf") if "nbf" in payload else issued
    if not max(issued, not_before) - leeway_s <= now < expires:
        raise ValueError("expired or not yet valid")
    if not 0 < expires - issued <= max_lifetime_s:
        raise ValueError("lifetime longer than allowed")
    return expires


def _is_canonical(part: str) -> bool:
    """Whether decoding and encoding the part gives the same part (RFC 4648, section 3.5)."""
    return base64.urlsafe_b64encode(decoded(part)).rstrip(b"=") == part.encode("ascii")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate key")
    return members
