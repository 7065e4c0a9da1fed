"""The erasure of a person: its state and its receipt."""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from chatbot.domain.canonical_json import canonical_json
from chatbot.domain.identity import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """An erasure that has begun. It stays for a while after its end, for late writes of the person.

    `erased` counts what was removed, by kind.
    """

    user_id: UserId
    receipt_id: str
    begun_at: datetime
    erased: Mapping[str, int] = field(default_factory=dict)
    expires_at: datetime | None = None
    """Set at the end."""

    def counting(self, erased: Mapping[str, int]) -> "Erasure":
        """Return the erasure with more removed items."""
        kinds = sorted({*self.erased, *erased})
        counts = {kind: self.erased.get(kind, 0) + erased.get(kind, 0) for kind in kinds}
        return replace(self, erased={kind: count for kind, count in counts.items() if count})


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was erased, and when. `mac` proves that the service issued it."""

    receipt_id: str
    erased: Mapping[str, int]
    at: datetime
    mac: str


def receipt_of(erasure: Erasure, *, at: datetime, key: bytes) -> Receipt:
    """Return the receipt, signed with the key of the audit."""
    unsigned = Receipt(receipt_id=erasure.receipt_id, erased=erasure.erased, at=at, mac="")
    return replace(unsigned, mac=_mac(unsigned, key))


def is_authentic(receipt: Receipt, keys: Iterable[bytes]) -> bool:
    """Whether the receipt was signed with one of the keys and is unchanged."""
    return any(hmac.compare_digest(_mac(receipt, key), receipt.mac) for key in keys)


def _mac(receipt: Receipt, key: bytes) -> str:
    signed = {
        "receipt_id": receipt.receipt_id,
        "erased": dict(receipt.erased),
        "at": receipt.at,
    }
    text = canonical_json(signed)
    return hmac.digest(key, b"chatbot erasure\n" + text.encode(), "sha256").hex()
