"""Access tokens as JWTs, signed with HMAC-SHA-256 by python-jose."""

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from jose import jws
from jose.backends.native import HMACKey

from chatbot.adapters.security.jwts import (
    ALGORITHM,
    AUDIENCE,
    INVALID,
    MAX_TOKEN_CHARS,
    check_times,
    header_of,
    integer,
    key_of,
    text,
    verified,
)
from chatbot.domain.errors import InvalidToken
from chatbot.domain.identity import FamilyId, User, UserId
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.security import Claims, Tokens

ISSUER = AUDIENCE
LEEWAY_S = 5  # for `iat` and `nbf` only: the clocks of two replicas differ a little

_VERIFIED_KEPT = 1024


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
        except INVALID as error:
            raise InvalidToken from error

    def _verify(self, raw_token: str) -> Mapping[str, object]:
        return verified(raw_token, self._key_of(raw_token))

    def _sign(self, claims: Mapping[str, object]) -> str:
        return jws.sign(claims, self._signing.key, self._signing.headers, ALGORITHM)

    def _key_of(self, raw_token: str) -> HMACKey:
        """Return the key that belongs to the header of the token.

        Raises:
            ValueError: the token has another shape, or a header that is not ours.
        """
        key = self._by_header.get(header_of(raw_token))
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
        text(payload, "jti")
        integer(payload, "nbf")
        now = self._clock().timestamp()
        check_times(payload, now, max_lifetime_s=self._ttl_s, leeway_s=LEEWAY_S)
        return Claims(
            user_id=UserId(text(payload, "sub")),
            token_stamp=text(payload, "ver"),
            family_id=FamilyId(text(payload, "sid")),
        )


class _SigningKey:
    """A secret, and the header of the tokens that it signs."""

    def __init__(self, secret: str) -> None:
        raw = secret.encode()
        self.key = key_of(raw)
        self.headers = {"kid": hmac.digest(raw, b"chatbot kid", "sha256").hex()[:8]}
        self.first_part = _first_part(jws.sign(b"", self.key, self.headers, ALGORITHM))


def _first_part(token: str) -> str:
    return token.partition(".")[0]
