"""Which text can be stored and sent, how moments are written, and how words are compared."""

import re
import unicodedata
from datetime import UTC, datetime

_UNSOUND = re.compile("[\0\ud800-\udfff]")


def is_sound(text: str) -> bool:
    """Whether the text can be stored and sent: it has no lone surrogate and no NUL."""
    return _UNSOUND.search(text) is None


def made_sound(text: str) -> str:
    """The text with a replacement character wherever it is not sound."""
    return _UNSOUND.sub("\ufffd", text)


def rfc3339(moment: datetime) -> str:
    """The moment in UTC, as in `2026-01-31T09:30:00.123456Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def fold(text: str) -> str:
    """The text without accents and case, for comparing words."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char))
