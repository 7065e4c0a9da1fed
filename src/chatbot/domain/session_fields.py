"""What people change in a session apart from its messages: the title, and a legal hold."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime

from chatbot.domain.errors import InvalidInput, SessionHeld

MAX_TITLE_CHARS = 200
MIN_REASON_CHARS, MAX_REASON_CHARS = 10, 500
_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_INVISIBLE = {"Cc", "Cf", "Cn", "Cs", "Zl", "Zp", "Zs"}
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The reason and start of a hold: the session is not erased, reset, deleted or expired."""

    reason: str
    at: datetime


def clean_title(raw: str) -> str:
    """Return the title as it is stored: without blanks around it and controls of text direction.

    Such controls, which are often pasted along, would also turn the text next to the title around.

    Raises:
        InvalidInput: it has no visible character, more than 200, or control characters.
    """
    return _cleaned(raw, "title", fewest=1, most=MAX_TITLE_CHARS)


def clean_reason(raw: str) -> str:
    """Return the reason of a hold or of reading another person's conversation, cleaned like a title.

    Raises:
        InvalidInput: it has fewer than 10 characters, more than 500, or control characters.
    """
    return _cleaned(raw, "reason", fewest=MIN_REASON_CHARS, most=MAX_REASON_CHARS)


def _cleaned(raw: str, field: str, *, fewest: int, most: int) -> str:
    text = _BIDI_CONTROLS.sub("", raw).strip()
    categories = {unicodedata.category(char) for char in text}
    if not fewest <= len(text) <= most or categories <= _INVISIBLE:
        raise InvalidInput(f"The {field} needs {fewest} to {most} characters.", where=(field,))
    if categories & _REFUSED:
        raise InvalidInput(f"The {field} contains control characters.", where=(field,))
    return text


def require_no_hold(hold: Hold | None) -> None:
    """Check that the session with this hold, or none, may be reset, deleted and erased.

    Raises:
        SessionHeld: it is on hold.
    """
    if hold is not None:
        raise SessionHeld


def is_in_title(text: str, title: str) -> bool:
    """Whether a title contains the text, ignoring case."""
    return caseless(text) in caseless(title)


def caseless(text: str) -> str:
    """Return the text for comparisons that ignore case (Unicode 3.13, D145)."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
