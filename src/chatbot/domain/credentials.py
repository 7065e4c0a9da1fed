"""API keys: their text, their stored form, and their expiry.

`cb_<id>_<secret>`: the id is public and names the key in lists and logs. The secret is 256 random
bits and a checksum, so that secret scanners recognise a key, and typing errors are detected before
a look-up.
"""

import hmac
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from chatbot.domain.assertions import derived_secret, unsealed
from chatbot.domain.identity import Client, ClientId, KeyId
from chatbot.domain.permissions import ROLE_PERMISSIONS, Permission
from chatbot.domain.stored import Stored

RandomBytes = Callable[[int], bytes]

ID_CHARS = 8
MAX_LIVE_KEYS = 2
"""The maximum number of usable keys of a client: the old and the new one during a rotation."""
EXPIRING_WITHIN = timedelta(days=7)
"""A key that expires within this time is shown as `expiring`. Also the longest overlap."""

_ID_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # without characters that look like others
_BASE_62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_BYTES, _SECRET_CHARS = 32, 43  # 62 ** 43 > 2 ** 256
_CHECKSUM_CHARS = 6  # 62 ** 6 > 2 ** 32
_SHAPE = re.compile(
    rf"cb_([{_ID_ALPHABET}]{{{ID_CHARS}}})_"
    rf"[0-9A-Za-z]{{{_SECRET_CHARS}}}([0-9A-Za-z]{{{_CHECKSUM_CHARS}}})",
    re.ASCII,
)
_NO_DIGEST = "0" * 64


class KeyState(StrEnum):
    """The state of a key."""

    ACTIVE = "active"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    REVOKED = "revoked"


def _known_scopes(words: Iterable[str]) -> frozenset[Permission]:
    """Return the scopes with these names; unknown names grant nothing."""
    return frozenset(map(Permission, set(Permission).intersection(words)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key of an application, without its secret.

    `digest` is an HMAC-SHA-256 of the key under a pepper that the store does not hold.
    `sealed_secret` is the assertion secret that an administrator has chosen, encrypted so that only
    the key itself can decrypt it. `last_used_on` is a date in UTC.
    """

    id: KeyId
    client: ClientId
    scopes: frozenset[Permission] = field(
        metadata=Stored(read_as=tuple[str, ...], clean=_known_scopes).metadata()
    )
    digest: str = field(repr=False)
    created_at: datetime
    created_by: str
    label: str = ""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_on: str | None = None
    sealed_secret: str | None = field(default=None, repr=False)

    def state(self, now: datetime) -> KeyState:
        """The state of the key at this moment."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is None or self.expires_at - now > EXPIRING_WITHIN:
            return KeyState.ACTIVE
        return KeyState.EXPIRING if self.expires_at > now else KeyState.EXPIRED

    def is_live(self, now: datetime) -> bool:
        """Whether the key can be used at this moment."""
        return self.state(now) in {KeyState.ACTIVE, KeyState.EXPIRING}

    def line(self, now: datetime) -> "KeyLine":
        """The key as it is listed at this moment."""
        return KeyLine(
            id=self.id,
            client=self.client,
            scopes=tuple(sorted(self.scopes)),
            label=self.label,
            created_at=self.created_at,
            created_by=self.created_by,
            expires_at=self.expires_at,
            last_used_on=self.last_used_on,
            state=self.state(now),
        )

    def as_client(self, assertion_secret: str | None = None) -> Client:
        """The application that calls with this key.

        No caller can do more through it than its scopes allow.
        """
        return Client(
            id=self.client,
            permissions=self.scopes,
            user_permissions=self.scopes & ROLE_PERMISSIONS,
            key_id=self.id,
            assertion_secret=assertion_secret,
        )

    def assertion_secret(self, raw_key: str, pepper: bytes) -> str | None:
        """The secret with which the application signs for whom it calls; None if it may not.

        `pepper` is that of the digest. None also if the sealed secret was changed in the store.
        """
        if Permission.ACT_FOR_USERS not in self.scopes:
            return None
        if self.sealed_secret is None:
            return derived_secret(raw_key, pepper)
        return unsealed(self.sealed_secret, raw_key, pepper)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLine:
    """A key as it is listed."""

    id: KeyId
    client: ClientId
    scopes: tuple[Permission, ...]
    label: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_on: str | None
    state: KeyState


def make_key(random: RandomBytes) -> tuple[KeyId, str]:
    """Return the id and the text of a new key."""
    key_id = _in_base(_ID_ALPHABET, random(2 * ID_CHARS), ID_CHARS)
    named = f"cb_{key_id}_{_in_base(_BASE_62, random(_SECRET_BYTES), _SECRET_CHARS)}"
    return KeyId(key_id), named + _checksum(named)


def is_key_id(text: str) -> bool:
    """Whether a key can have this id."""
    return len(text) == ID_CHARS and set(text) <= set(_ID_ALPHABET)


def key_id_of(raw_key: str) -> KeyId | None:
    """Return the id in a key; None if it is not a key or has a typing error."""
    shape = _SHAPE.fullmatch(raw_key)
    if shape is None or _checksum(raw_key[:-_CHECKSUM_CHARS]) != shape[2]:
        return None
    return KeyId(shape[1])


def digest_of_key(raw_key: str, pepper: bytes) -> str:
    """Return the stored digest of a key."""
    return hmac.digest(pepper, raw_key.encode(), "sha256").hex()


def matching_pepper(raw_key: str, stored: ApiKey | None, peppers: Sequence[bytes]) -> bytes | None:
    """Return the pepper under which the key has the stored digest, or None.

    The duration is the same without a stored key, and for every pepper.
    """
    digest = _NO_DIGEST if stored is None else stored.digest
    found: bytes | None = None
    for pepper in peppers:
        if hmac.compare_digest(
            digest_of_key(raw_key, pepper).encode(), digest.encode(errors="surrogatepass")
        ):
            found = pepper
    return None if stored is None else found


def live_keys(keys: Iterable[ApiKey], now: datetime) -> list[ApiKey]:
    """Return the keys that can be used at this moment."""
    return [key for key in keys if key.is_live(now)]


def _in_base(alphabet: str, raw: bytes, chars: int) -> str:
    number, found = int.from_bytes(raw), ""
    for _ in range(chars):
        number, digit = divmod(number, len(alphabet))
        found = alphabet[digit] + found
    return found


def _checksum(text: str) -> str:
    return _in_base(_BASE_62, zlib.crc32(text.encode()).to_bytes(4), _CHECKSUM_CHARS)
