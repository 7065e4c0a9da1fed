"""Assertions: JWTs in which an application names the person for whom it calls.

The HMAC-SHA-256 key is the assertion secret of the API key of the call. It is derived from that key
and the pepper, and is not stored. A secret that an administrator has chosen is stored encrypted
with a key derived in the same way. So the store alone reveals neither.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from datetime import datetime

from chatbot.domain.common_passwords import unpredictable_chars
from chatbot.domain.errors import InvalidInput
from chatbot.domain.identity import UserId

MIN_SECRET_CHARS, MAX_SECRET_CHARS = 32, 512  # RFC 7518, section 3.2: at least as long as the hash
_MIN_UNPREDICTABLE = 16
_KEY_FORMATS = ("-----BEGIN", "ssh-", "ecdsa-")
"""Prefixes of keys for other algorithms, which JWT libraries reject for HMAC."""
_BLOCK = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionKind:
    """What assertions of one kind must contain, besides `iss` (the client), `iat` and `exp`.

    `header` is the request header. Without `audience`, `aud` is ignored; unless it `is_single_use`,
    so is `jti`.
    """

    header: str
    audience: str | None
    is_single_use: bool
    max_lifetime_s: int


END_USER = AssertionKind(
    header="X-End-User", audience="chatbot", is_single_use=True, max_lifetime_s=300
)
ASSERTION_KINDS: tuple[AssertionKind, ...] = (END_USER,)
"""All kinds. Each surface accepts at most one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """A valid assertion: a person by id, by normalised e-mail address, or by both.

    `nonce` is the `jti` of an assertion that can be used once.
    """

    user_id: UserId | None
    email: str | None
    nonce: str | None
    expires_at: datetime


def derived_secret(raw_key: str, pepper: bytes) -> str:
    """Return the assertion secret of a key for which none was chosen."""
    return _text(_derive(raw_key, pepper, b"chatbot assertion secret")).rstrip("=")


def check_secret(secret: str) -> None:
    """Check that an administrator may choose this assertion secret.

    Raises:
        InvalidInput: it is too short, easy to guess, or not ASCII.
    """
    is_text = secret.isascii() and secret.isprintable() and " " not in secret
    if not (is_text and MIN_SECRET_CHARS <= len(secret) <= MAX_SECRET_CHARS):
        rule = f"{MIN_SECRET_CHARS} to {MAX_SECRET_CHARS} printable ASCII characters, no blanks"
        raise InvalidInput(f"An assertion secret has {rule}.", where=("user_secret",))
    is_key = secret.startswith(_KEY_FORMATS)
    if is_key or unpredictable_chars(secret) < _MIN_UNPREDICTABLE:
        raise InvalidInput("The assertion secret is easy to guess.", where=("user_secret",))


def sealed(secret: str, raw_key: str, pepper: bytes) -> str:
    """Return a chosen secret in its stored, encrypted form.

    Encrypt-then-MAC with HMAC-SHA-256 in counter mode (NIST SP 800-108) as the stream. The keys
    follow from the API key and seal this one text only, so that no nonce is needed.
    """
    stream, tag_key = _sealing_keys(raw_key, pepper)
    hidden = _xor(secret.encode(), stream)
    return _text(hidden + hmac.digest(tag_key, hidden, "sha256"))


def unsealed(text: str, raw_key: str, pepper: bytes) -> str | None:
    """Return the secret; None if the text was changed, or sealed for another key."""
    stream, tag_key = _sealing_keys(raw_key, pepper)
    try:
        raw = urlsafe_b64decode(text.encode("ascii"))
    except (UnicodeEncodeError, NotBase64):
        return None
    hidden, tag = raw[:-_BLOCK], raw[-_BLOCK:]
    if not hmac.compare_digest(hmac.digest(tag_key, hidden, "sha256"), tag):
        return None
    return _xor(hidden, stream).decode()


def _sealing_keys(raw_key: str, pepper: bytes) -> tuple[bytes, bytes]:
    root = _derive(raw_key, pepper, b"chatbot sealed assertion secret")
    return hmac.digest(root, b"stream", "sha256"), hmac.digest(root, b"tag", "sha256")


def _derive(raw_key: str, pepper: bytes, purpose: bytes) -> bytes:
    return hmac.digest(pepper, purpose + b"\0" + raw_key.encode(), "sha256")


def _xor(text: bytes, key: bytes) -> bytes:
    blocks = range(-(-len(text) // _BLOCK))
    stream = b"".join(hmac.digest(key, block.to_bytes(4), "sha256") for block in blocks)
    return bytes(left ^ right for left, right in zip(text, stream, strict=False))


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode("ascii")
