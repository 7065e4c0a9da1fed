"""Assertions as an application signs them, and as an attacker might."""

import base64
import hmac
import json
import secrets
import time

HEADER = {"alg": "HS256", "typ": "JWT"}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: bytes, payload: bytes, secret: str, *, algorithm: str = "sha256") -> str:
    """A JWT of exactly these bytes."""
    signing = f"{b64(header)}.{b64(payload)}"
    return f"{signing}.{b64(hmac.digest(secret.encode(), signing.encode(), algorithm))}"


def claims_for(client: str, **changed: object) -> dict[str, object]:
    """The claims of a valid assertion; None removes one."""
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": client,
        "aud": "chatbot",
        "iat": now,
        "exp": now + 60,
        "jti": secrets.token_hex(16),
    }
    return {name: value for name, value in (claims | changed).items() if value is not None}


def assertion(secret: str | None, client: str, **changed: object) -> str:
    """An assertion, signed with this secret."""
    assert secret is not None
    payload = json.dumps(claims_for(client, **changed)).encode()
    return signed(json.dumps(HEADER).encode(), payload, secret)
