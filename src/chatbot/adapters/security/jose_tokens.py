"""Access tokens as JWTs, signed with HMAC-SHA-256 by python-jose."""

import base64
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from jose import jws
from jose.backends.native import HMACKey
from jose.exceptions import JOSEError

from chatbot.domain.errors import InvalidToken
from chatbot.domain.identity import FamilyId, User, UserId
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.security import Claims, Tokens

ALGORITHM = "HS256"
ISSUER = AUDIENCE = "chatbot"
MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: a key at least as long as the hash
MAX_TOKEN_CHARS = 4096
MAX_ID_CHARS = 255
LEEWAY_S = 5  # for `iat` and `nbf` only: the clocks of two replicas differ a little

_VERIFIED_KEPT = 1024
_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


class JoseTokens(Tokens):
    """HS256 only, and secrets that were replaced verify what they have signed. The library checks the signature; everything else is checked here.

    The library accepts what RFC 8725 (JWT Best Current Practices) warns of: a missing or textual
    `exp`, a future `iat`, any `typ`, unknown `crit`, repeated claims, non-canonical base64; and it
    tries to parse the secret as JSON. So it gets a key object, and only tokens whose header is,
    byte for byte, the one issued here.
    """

    def __init__(
        self, secret: str, *, previous: Sequence[str] = (), ttl_s: int, clock: Clock
    ) -> None:
        self._signing = _SigningKey(secret)
        keys = [self._signing, *map(_SigningKey, previous)]
        self._by_header = {each.first_part: each.key for each in reversed(keys)}
        # A client sends the same token many times: only what may change is checked each time.
        self._verified = lru_cache(maxsize=_VERIFIED_KEPT)(self._verify)
        self._ttl_s = ttl_s
        self._clock = clock

    @property
    def ttl_s(self) -> int:
        return self._ttl_s

    def issue(self, user: User, *, family_id: FamilyId, token_id: str, at: datetime) -> str:
        """Return a signed token, without roles and department if it would be too long with them."""
        now = int(at.timestamp())
        registered = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user.id,
            "sid": family_id,  # as in OpenID Connect Front-Channel Logout 1.0, section 3
            "jti": token_id,
            "iat": now,
            "nbf": now,
            "exp": now + self._ttl_s,
            "ver": user.token_stamp,
        }
        hints = {"roles": list(user.roles), "department": user.department}
        token = self._sign({**registered, **hints})
        return token if len(token) <= MAX_TOKEN_CHARS else self._sign(registered)

    def read(self, raw_token: str) -> Claims:
        """Check size and shape, then the signature, then the claims."""
        try:
            return self._checked(self._verified(raw_token))
        except (JOSEError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidToken from error

    def _verify(self, raw_token: str) -> Mapping[str, object]:
        return _parse(jws.verify(raw_token, self._key_of(raw_token), [ALGORITHM]))

    def _sign(self, claims: Mapping[str, object]) -> str:
        return jws.sign(claims, self._signing.key, self._signing.headers, ALGORITHM)

    def _key_of(self, raw_token: str) -> HMACKey:
        """Require three parts of canonical base64url, the first of which is a header of ours.

        Raises:
            ValueError: the token has another shape.
        """
        shape = _SHAPE.fullmatch(raw_token) if len(raw_token) <= MAX_TOKEN_CHARS else None
        if shape is None or not all(map(_is_canonical, shape.groups())):
            raise ValueError("not three parts of base64url")
        key = self._by_header.get(shape.group(1))
        if key is None:
            raise ValueError("not an expected header")
        return key

    def _checked(self, payload: Mapping[str, object]) -> Claims:
        """Check all required claims and return those that the service uses.

        Raises:
            ValueError, TypeError: one is missing, of the wrong type, or not valid now.
        """
        if (payload.get("iss"), payload.get("aud")) != (ISSUER, AUDIENCE):
            raise ValueError("wrong issuer or audience")
        _text(payload, "jti")
        self._check_times(*(_integer(payload, name) for name in ("iat", "nbf", "exp")))
        return Claims(
            user_id=UserId(_text(payload, "sub")),
            token_stamp=_text(payload, "ver"),
            family_id=FamilyId(_text(payload, "sid")),
        )

    def _check_times(self, issued: int, not_before: int, expires: int) -> None:
        now = self._clock().timestamp()
        if not max(issued, not_before) - LEEWAY_S <= now < expires:
            raise ValueError("expired or not yet valid")
        if not 0 < expires - issued <= self._ttl_s:
            raise ValueError("lifetime longer than allowed")


class _SigningKey:
    """A secret, and the header of the tokens that it signs."""

    def __init__(self, secret: str) -> None:
        raw = secret.encode()
        if len(raw) < MIN_SECRET_BYTES:
            raise ValueError(
                f"the secret that signs tokens needs at least {MIN_SECRET_BYTES} bytes"
            )
        self.key = _construct(raw)
        self.headers = {"kid": hmac.digest(raw, b"chatbot kid", "sha256").hex()[:8]}
        self.first_part = _first_part(jws.sign(b"", self.key, self.headers, ALGORITHM))


def _construct(key: bytes) -> HMACKey:
    """The key for the standard library's HMAC, whatever other backend is installed."""
    try:
        return HMACKey(key, ALGORITHM)
    except JOSEError as error:
        raise ValueError("the secret that signs tokens looks like a public key") from error


def _first_part(token: str) -> str:
    return token.partition(".")[0]


def _is_canonical(part: str) -> bool:
    """Whether decoding and encoding the part gives the same part (RFC 4648, section 3.5)."""
    decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    return base64.urlsafe_b64encode(decoded).rstrip(b"=") == part.encode("ascii")


def _parse(payload: bytes) -> Mapping[str, object]:
    """Parse a JSON object without duplicate keys (RFC 7519, section 4).

    Raises:
        ValueError, TypeError, RecursionError: it is anything else.
    """
    parsed: object = json.loads(payload.decode(), object_pairs_hook=_object)
    if not isinstance(parsed, dict):
        raise TypeError("the payload is not an object")
    return parsed


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate key")
    return members


def _text(payload: Mapping[str, object], name: str) -> str:
    """Return a claim that is text without control characters or lone surrogates."""
    value = payload.get(name)
    if not (isinstance(value, str) and value.isprintable() and 0 < len(value) <= MAX_ID_CHARS):
        raise ValueError(f"{name} is not a string")
    return value


def _integer(payload: Mapping[str, object], name: str) -> int:
    """Return a claim that is a JSON integer: no text, fraction or boolean."""
    value = payload.get(name)
    if type(value) is not int:
        raise TypeError(f"{name} is not an integer")
    return value
