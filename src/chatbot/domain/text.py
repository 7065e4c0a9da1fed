"""Which text can be stored and sent, how moments are written, and when words are the same."""

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime

_UNSOUND = re.compile("[\0\ud800-\udfff]")
_LANGUAGE_NAMES = {"es": ("espanol", "castellano", "spanish"), "en": ("ingles", "english")}
_STEM_CHARS = 4
_ENDING_CHARS = 2


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


def was_said(value: str, texts: Iterable[str]) -> bool:
    """Whether one of the texts says the value: each of its words, save for an ending.

    Case and accents do not count, and `breves` says `breve`; `es`, `en` and their regions are said
    by the names of the languages. A value without words is said by nobody.
    """
    wanted = _words(value)
    language = re.fullmatch(r"(es|en)(?:[-_]\w+)?", value.strip().lower())
    for text in texts:
        spoken = _words(text)
        if language and any(name in spoken for name in _LANGUAGE_NAMES[language[1]]):
            return True
        if wanted and not language and all(any(_says(s, w) for s in spoken) for w in wanted):
            return True
    return False


def _says(spoken: str, wanted: str) -> bool:
    """Whether it is the word, or a long enough word with a short ending more."""
    ending = spoken.removeprefix(wanted)
    is_short = len(ending) <= _ENDING_CHARS or ending == "mente"  # as in `formalmente`
    return spoken == wanted or (
        len(wanted) >= _STEM_CHARS and spoken.startswith(wanted) and is_short
    )


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", fold(text))
