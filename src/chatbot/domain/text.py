"""Which text can be stored and sent, and how words are compared."""

import re
import unicodedata

_UNSOUND = re.compile("[\0\ud800-\udfff]")


def is_sound(text: str) -> bool:
    """Whether the text can be stored and sent: it has no lone surrogate and no NUL."""
    return _UNSOUND.search(text) is None


def made_sound(text: str) -> str:
    """The text with a replacement character wherever it is not sound."""
    return _UNSOUND.sub("\ufffd", text)


def fold(text: str) -> str:
    """The text without accents and case, for comparing words."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char))
