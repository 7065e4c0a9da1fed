"""Whether a stored object is still the one that a caller has seen."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol

from chatbot.domain.errors import ChangedMeanwhile
from chatbot.domain.text import rfc3339


class Fingerprinted(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def fingerprint(record: Fingerprinted) -> str:
    """Return 32 hexadecimal digits that change with every change of the object, secrets included."""
    text = json.dumps([type(record).__name__, asdict(record)], sort_keys=True, default=_json)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the object to be changed has to be: one of these fingerprints; None for anything."""

    any_of: frozenset[str] | None = None
    is_any: bool = False

    def require(self, record: Fingerprinted | None) -> None:
        """Return if the stored object, None if there is none, is what the caller expects.

        Raises:
            ChangedMeanwhile: it is not.
        """
        if self.any_of is None and not self.is_any:
            return
        if record is None or not (self.is_any or fingerprint(record) in (self.any_of or ())):
            raise ChangedMeanwhile


ANYTHING = Expected()


def _json(value: object) -> object:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no fingerprint")
