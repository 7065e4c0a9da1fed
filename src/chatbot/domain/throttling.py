"""How long a caller waits after too many wrong passwords; no account is ever locked.

Log-in attempts are counted per account, whether or not it exists, and per network address. An
attempt counts from before its password is checked until it succeeds. Once the allowed number is
reached, each further attempt must wait longer after the last one; attempts during a wait neither
count nor prolong it.

That leaves about ten guesses per account in a quarter of an hour. The numbers are between those of
NIST SP 800-63B-4, section 3.2.2 (a growing wait, from 30 seconds) and OWASP ASVS 4, 2.2.1 (at most
100 failed attempts per account and hour). NIST's limit, disabling at 100 failures in a row, is left
out: it would let anyone lock anyone out.
"""

import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NewType

WINDOW = timedelta(minutes=15)
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=5)
ALLOWED_PER_ACCOUNT = 5
ALLOWED_PER_ADDRESS = 50

_NO_WAIT = timedelta(0)

AttemptKey = NewType("AttemptKey", str)
"""The name of a throttle's counter: 64 hexadecimal digits, an HMAC that reveals no account.

It is keyed with a secret of the service, so that no caller can choose names whose counters displace
another's in the bounded tables of a store.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """A counter of attempts, and how many are allowed without a wait."""

    key: AttemptKey
    allowed: int

    def wait(self, made: Sequence[datetime], now: datetime) -> timedelta:
        """Returns the wait before the next attempt, given the times of those made; zero for none."""
        recent = _recent(made, now)
        excess = len(recent) - self.allowed
        if excess < 0:
            return _NO_WAIT
        doubled = FIRST_WAIT * (1 << min(excess, 10))  # enough to reach the longest one
        return max(_NO_WAIT, max(recent) + min(doubled, LONGEST_WAIT) - now)


def account_throttle(raw_email: str, *, secret: bytes = b"") -> Throttle:
    """Returns the throttle of an e-mail address in any spelling; the text may be invalid."""
    key = _key(secret, "account", raw_email.strip().lower())
    return Throttle(key=key, allowed=ALLOWED_PER_ACCOUNT)


def address_throttle(host: str, *, secret: bytes = b"") -> Throttle:
    """Returns the throttle of an IP address, or of an IPv6 /64, which one site has (RFC 6177)."""
    return Throttle(key=_key(secret, "address", network_of(host)), allowed=ALLOWED_PER_ADDRESS)


def _recent(made: Sequence[datetime], now: datetime) -> tuple[datetime, ...]:
    """Returns the attempts that count, including later ones if the clock was set back a little."""
    return tuple(at for at in made if abs(now - at) < WINDOW)


def _key(secret: bytes, kind: str, name: str) -> AttemptKey:
    named = f"{kind}:{name}".encode("utf-8", "surrogatepass")
    return AttemptKey(hmac.digest(secret, named, "sha256").hex())


def network_of(host: str) -> str:
    """Returns the IP address, or the IPv6 /64 that contains it; another name as it is."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host  # some other name that a proxy gives its callers
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))
