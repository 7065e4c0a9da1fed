"""Assertions of applications as JWTs, whose signatures python-jose checks."""

from collections.abc import Mapping
from datetime import UTC, datetime

from chatbot.adapters.security.jwts import (
    ALGORITHM,
    INVALID,
    check_times,
    decoded,
    header_of,
    key_of,
    parse,
    text,
    verified,
)
from chatbot.domain.assertions import Assertion, AssertionKind
from chatbot.domain.email_addresses import normalise_email
from chatbot.domain.errors import InvalidAssertion, InvalidInput
from chatbot.domain.identity import ClientId, UserId
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.security import Assertions

LEEWAY_S = 30  # for `iat` and `nbf` only: the clock of the application is another company's
_HEADER_NAMES = {"alg", "typ", "kid"}


class JoseAssertions(Assertions):
    """HS256 only. The header and the claims are made by other libraries, and checked one by one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def read(
        self, raw_assertion: str, kind: AssertionKind, *, secret: str, issuer: ClientId
    ) -> Assertion:
        """Check size and shape, then the header, then the signature, then the claims."""
        try:
            _check_header(parse(decoded(header_of(raw_assertion))))
            payload = verified(raw_assertion, key_of(secret.encode()))
            return self._checked(payload, kind, issuer)
        except (*INVALID, InvalidInput) as error:
            raise InvalidAssertion from error

    def _checked(
        self, payload: Mapping[str, object], kind: AssertionKind, issuer: ClientId
    ) -> Assertion:
        if payload.get("iss") != issuer:
            raise ValueError("wrong issuer")
        if kind.audience is not None and payload.get("aud") != kind.audience:
            raise ValueError("wrong audience")
        expires = check_times(
            payload,
            self._clock().timestamp(),
            max_lifetime_s=kind.max_lifetime_s,
            leeway_s=LEEWAY_S,
        )
        if not payload.keys() & {"sub", "email"}:
            raise ValueError("names no person")
        return Assertion(
            user_id=UserId(text(payload, "sub")) if "sub" in payload else None,
            email=normalise_email(text(payload, "email")) if "email" in payload else None,
            nonce=text(payload, "jti") if kind.is_single_use else None,
            expires_at=datetime.fromtimestamp(expires, UTC),
        )


def _check_header(header: Mapping[str, object]) -> None:
    """Check that the header has the expected values, and no extensions.

    Raises:
        ValueError: otherwise.
    """
    if header.get("alg") != ALGORITHM or header.get("typ", "JWT") != "JWT":
        raise ValueError("another algorithm or type")
    if not header.keys() <= _HEADER_NAMES:
        raise ValueError("unknown parameters")  # such as crit, jku, jwk, x5u, zip
