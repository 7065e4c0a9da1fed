"""Caches for a few seconds which identity a credential has."""

import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

TTL_S = 5.0
"""A revocation takes effect in every process within this time."""

MAX_ENTRIES = 1024

Identity = TypeVar("Identity")
Entry = TypeVar("Entry")


class CredentialCache(Generic[Identity]):
    """Wraps a look-up that returns the identity of a credential, or None if it is unknown.

    Entries expire by the time at which their look-up began, so that a slow look-up does not delay a
    revocation. Known and unknown credentials are bounded apart: a flood of wrong ones cannot
    displace a known one. Memory holds digests under a random key, never a credential.
    """

    def __init__(
        self,
        look_up: Callable[[str], Awaitable[Identity | None]],
        *,
        clock: Callable[[], float] = time.monotonic,
        ttl_s: float = TTL_S,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self._look_up = look_up
        self._clock = clock
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        self._process_key = secrets.token_bytes(32)
        self._known: dict[bytes, tuple[float, Identity]] = {}
        self._unknown: dict[bytes, tuple[float, None]] = {}

    async def identify(self, credential: str) -> Identity | None:
        """Returns the identity, at most 5 s old."""
        now = self._clock()
        digest = hmac.digest(self._process_key, credential.encode(errors="surrogatepass"), "sha256")
        for entries in (self._known, self._unknown):
            expires_at, cached = entries.get(digest, (now, None))
            if expires_at > now:
                return cached
            entries.pop(digest, None)
        identity = await self._look_up(credential)
        if identity is None:
            self._keep(self._unknown, digest, (now + self._ttl_s, None))
        else:
            self._keep(self._known, digest, (now + self._ttl_s, identity))
        return identity

    def _keep(
        self, entries: dict[bytes, tuple[float, Entry]], digest: bytes, entry: tuple[float, Entry]
    ) -> None:
        entries.pop(digest, None)  # another request may have looked it up meanwhile
        entries[digest] = entry
        if len(entries) > self._max_entries:
            del entries[next(iter(entries))]  # the oldest
