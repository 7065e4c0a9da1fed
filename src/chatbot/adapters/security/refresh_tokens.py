"""Refresh tokens: the id of a sign-in, a number, and an HMAC-SHA-256 of both."""

import base64
import hmac
import re
from collections.abc import Sequence

from chatbot.domain.errors import InvalidToken
from chatbot.domain.identity import FamilyId
from chatbot.domain.ports.security import RefreshTokens

_SHAPE = re.compile(r"([0-9a-f]{32})\.([1-9][0-9]{0,8})\.([A-Za-z0-9_-]{43})", re.ASCII)
MAX_CHARS = 32 + 1 + 9 + 1 + 43


class HmacRefreshTokens(RefreshTokens):
    """Tokens in the form `ID.NUMBER.MAC`, the last part in base64url.

    The keys are derived from the secrets that sign access tokens (RFC 5869 calls it "expand"), so
    that neither kind of token can stand in for the other.

    Args:
        secret: signs.
        previous: older secrets, which only verify.
    """

    def __init__(self, secret: str, *, previous: Sequence[str] = ()) -> None:
        self._keys = [_derived(each) for each in (secret, *previous)]

    def issue(self, family_id: FamilyId, number: int) -> str:
        signed = f"{family_id}.{number}"
        return f"{signed}.{_mac(self._keys[0], signed)}"

    def read(self, raw_token: str) -> tuple[FamilyId, int]:
        shape = _SHAPE.fullmatch(raw_token) if len(raw_token) <= MAX_CHARS else None
        if shape is None:
            raise InvalidToken
        family_id, number, mac = shape.groups()
        signed = f"{family_id}.{number}"
        matches = [hmac.compare_digest(mac, _mac(key, signed)) for key in self._keys]
        if not any(matches):
            raise InvalidToken
        return FamilyId(family_id), int(number)

    def access_token_id(self, family_id: FamilyId, number: int) -> str:
        signed = f"access token {family_id}.{number}".encode()
        return hmac.digest(self._keys[0], signed, "sha256").hex()[:32]


def _derived(secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"chatbot refresh tokens", "sha256")


def _mac(key: bytes, signed: str) -> str:
    """Return the MAC, whose base64url form without padding is unique."""
    digest = hmac.digest(key, signed.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
