"""How long somebody waits who has guessed passwords too often; nobody is ever locked out.

Attempts to log in are counted for the account, whether or not there is such a user, and for the
address they come from. An attempt counts from before its password is checked, and not any more
once it has succeeded. From the allowed number on, each further one is a longer wait away from the
last; what is tried during a wait neither counts nor prolongs it.

That leaves some ten guesses per account in each quarter of an hour. The numbers are between those
of NIST SP 800-63B-4, section 3.2.2 (a wait that grows, from 30 seconds) and OWASP ASVS 4, 2.2.1
(at most 100 failed attempts on an account in an hour). NIST's end, at 100 failures in a row, is
left out: it would let anybody lock anybody out.
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
"""What is counted together: 64 hexadecimal digits that name nobody without the key.

They come from a key of the service, so that nobody can choose names whose keys meet another's in
the bounded tables of a store, to push its attempts out.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """What is counted together, and how many attempts are allowed before one has to wait."""

    key: AttemptKey
    allowed: int

    def wait(self, made: Sequence[datetime], now: datetime) -> timedelta:
        """How long to wait for the next attempt after those that were made; zero for not at all."""
        recent = _recent(made, now)
        excess = len(recent) - self.allowed
        if excess < 0:
            return _NO_WAIT
        doubled = FIRST_WAIT * (1 << min(excess, 10))  # enough to reach the longest one
        return max(_NO_WAIT, max(recent) + min(doubled, LONGEST_WAIT) - now)


def account_throttle(raw_email: str, *, secret: bytes = b"") -> Throttle:
    """The throttle of an e-mail address in any spelling, and of anything else that was sent as one."""
    key = _key(secret, "account", raw_email.strip().lower())
    return Throttle(key=key, allowed=ALLOWED_PER_ACCOUNT)


def address_throttle(host: str, *, secret: bytes = b"") -> Throttle:
    """The throttle of an IP address; of IPv6 its /64, since one line gets that many (RFC 6177)."""
    return Throttle(key=_key(secret, "address", _network(host)), allowed=ALLOWED_PER_ADDRESS)


def _recent(made: Sequence[datetime], now: datetime) -> tuple[datetime, ...]:
    """The attempts that count: also those ahead of a clock that was set back a little."""
    return tuple(at for at in made if abs(now - at) < WINDOW)


def _key(secret: bytes, kind: str, name: str) -> AttemptKey:
    named = f"{kind}:{name}".encode("utf-8", "surrogatepass")
    return AttemptKey(hmac.digest(secret, named, "sha256").hex())


def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host  # whatever a proxy calls its callers
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))
