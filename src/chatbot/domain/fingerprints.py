"""Detects whether a stored object has changed since a caller read it."""

import hashlib
from dataclasses import asdict, dataclass

from chatbot.domain.canonical_json import Dataclass, canonical_json
from chatbot.domain.errors import ChangedMeanwhile


def fingerprint(record: Dataclass) -> str:
    """Return 32 hexadecimal digits that change with every change of the object, secrets included."""
    text = canonical_json([type(record).__name__, asdict(record)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the stored object must be before a change: one of these fingerprints; None for anything."""

    any_of: frozenset[str] | None = None
    is_any: bool = False

    def require(self, record: Dataclass | None) -> None:
        """Check that the stored object, None if there is none, is what the caller expects.

        Raises:
            ChangedMeanwhile: it is not.
        """
        if self.any_of is None and not self.is_any:
            return
        if record is None:
            raise ChangedMeanwhile
        self.require_tag(fingerprint(record))

    def require_tag(self, tag: str) -> None:
        """Check that the stored object, which has this tag, is what the caller expects.

        Raises:
            ChangedMeanwhile: it is not.
        """
        if self.any_of is not None and not self.is_any and tag not in self.any_of:
            raise ChangedMeanwhile


ANYTHING = Expected()
