"""Text that can be stored and displayed, timestamps, word comparison, language detection."""

import re
import tomllib
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib.resources import files
from typing import Literal

FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
LAST_MOMENT = datetime.max.replace(tzinfo=UTC)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LANGUAGE_NAMES = {"es": ("espanol", "castellano", "spanish"), "en": ("ingles", "english")}
_FOLDED_CHARS = 100_000
_STEM_CHARS = 4
_ENDING_CHARS = 2
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d([Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d))?", re.ASCII
)
_BYTE_ORDER_MARK = "\ufeff"
_BLANKS = " \t\r\n\v\f\u00a0\u200b\u2060\ufeff"
"""Includes invisible characters that are often pasted along: no-break and zero-width spaces, BOM."""
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}


class NotUtf8(UnicodeError):
    """A file or a stream is not UTF-8 text. The message quotes none of it."""


def decode_utf8(raw: bytes) -> str:
    """Decode UTF-8 text without its byte order mark, which editors on Windows write.

    Raises:
        NotUtf8: the text has another encoding; UTF-16 is recognized and named.
    """
    is_utf16 = raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw[:2]
    if is_utf16:
        raise NotUtf8("it is UTF-16 text; save it as UTF-8")
    try:
        return raw.decode("utf-8").removeprefix(_BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        raise NotUtf8("it is not UTF-8 text; save it as UTF-8") from error


def unquoted(value: str) -> str:
    """Return a value without surrounding blanks, line ends and quotes, as left by copying."""
    bare = value.strip(_BLANKS)
    while len(bare) > 1 and _QUOTES.get(bare[0]) == bare[-1] and bare[-1] not in bare[1:-1]:
        bare = bare[1:-1].strip(_BLANKS)
    return bare


# Typical of words of the language that are not in the lists.
_SPANISH_SHAPE = re.compile(
    "(?:cion|ciones|mente|ando|iendo|idad|arme|irme|ito|itos)$|[bcfmprsv]ue[lnr][a-z]"
)
_ENGLISH_SHAPE = re.compile("w|th|sh|ck|gh|oo|ee|(?:ing|tion|tions|ness|ment|ly|ed)$")
_QUOTED = re.compile('["“«][^"”»\\n]*+(["”»]?)')
# Unclosed quotations match, too: otherwise the text would be scanned again from each quotation mark.
_LANGUAGE_SAMPLE_CHARS = 2000
_WORD_POINTS, _SIGN_POINTS = 3, 1


def is_storable(text: str) -> bool:
    """Whether the text can be stored and sent: it has no lone surrogate and no NUL."""
    return _UNSTORABLE.search(text) is None


def replace_unstorable(text: str) -> str:
    """Return the text with U+FFFD in place of each character that cannot be stored."""
    return _UNSTORABLE.sub("\ufffd", text)


def visible(text: str) -> str:
    """Return the text with control characters escaped, for display in a terminal.

    These are C0 except for line feed and tab, DEL, C1, bidirectional overrides, and surrogates. Carriage returns
    are removed, because they would overwrite a line.
    """
    return _CONTROLS.sub(_escaped, text.replace("\r", ""))


def visible_line(text: str) -> str:
    """Like `visible`, on one line."""
    return visible(text).replace("\n", "\\n")


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def rfc3339(moment: datetime) -> str:
    """Return the time in UTC in the format of RFC 3339: `2026-01-31T09:30:00.123456Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def moment_of(raw: str) -> datetime:
    """Return the moment, of a date its beginning in UTC.

    Raises:
        ValueError: it is neither a date nor a time with a zone in the format of RFC 3339.
    """
    message = (
        "must be a date, or a time with its zone, such as `2026-01-31` or `2026-01-31T09:30:00Z`"
    )
    if _MOMENT.fullmatch(raw) is None:
        raise ValueError(message)
    try:
        found = datetime.fromisoformat(raw.upper())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(message) from None


def fold(text: str) -> str:
    """Return the text without accents and case, for comparing words.

    Only the first 100,000 characters are used, which bounds the cost.
    """
    plain = text[:_FOLDED_CHARS].casefold()
    if plain.isascii():
        return plain
    plain = unicodedata.normalize("NFKD", plain)
    return "".join(char for char in plain if not unicodedata.combining(char))


def detect_language(text: str) -> Literal["es", "en"] | None:
    """Return the language of a user's text, or `None` if it is undecided.

    Distinguishes Spanish and English by frequent words, letters and endings in the first 2,000
    characters. Quotations count only if the rest is undecided.
    """
    sample = text[:_LANGUAGE_SAMPLE_CHARS]
    own_words = _QUOTED.sub(lambda found: " " if found[1] else found[0], sample)
    for words in dict.fromkeys((own_words, sample)):
        lead = _spanish_lead(words)
        if lead:
            return "es" if lead > 0 else "en"
    return None


def _spanish_lead(text: str) -> int:
    """Return the score of Spanish minus that of English."""
    words = re.findall(r"[^\W\d_]+", re.sub("['\u2019]", "", text.casefold()))
    signs = text.count("¿") + text.count("¡")
    return _SIGN_POINTS * signs + sum(_spanish_points(word) for word in words)


def _spanish_points(word: str) -> int:
    plain = fold(word)
    is_spanish, is_english = plain in _words_of("es"), plain in _words_of("en")
    if is_spanish or is_english:
        return _WORD_POINTS * (is_spanish - is_english)
    looks_spanish = plain != word or _SPANISH_SHAPE.search(plain) is not None
    return _SIGN_POINTS * (looks_spanish - (_ENGLISH_SHAPE.search(plain) is not None))


@cache
def _words_of(language: str) -> frozenset[str]:
    """Return the words that distinguish the language from the other one."""
    table = tomllib.loads(files(__package__).joinpath("languages.toml").read_text("utf-8"))
    return frozenset(table[language].split())


class Said:
    """The words said in texts, which are scanned once, on first use."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts

    def has(self, value: str) -> bool:
        """Whether one of the texts contains all words of the value, possibly with other endings.

        Case and accents are ignored, and `breves` matches `breve`; `es`, `en` and their regions match
        the names of the languages. A value without words never matches.
        """
        language = re.fullmatch(r"(es|en)(?:[-_]\w+)?", value.strip().lower())
        if language:
            return any(
                not spoken.isdisjoint(_LANGUAGE_NAMES[language[1]]) for spoken in self._spoken
            )
        wanted = _words(value)
        return bool(wanted) and any(wanted <= said for said in self._said)

    @cached_property
    def _spoken(self) -> list[set[str]]:
        return [_words(text) for text in self._texts]

    @cached_property
    def _said(self) -> list[set[str]]:
        return [_said_by(spoken) for spoken in self._spoken]


def _said_by(spoken: set[str]) -> set[str]:
    """Return the words, and the stems of those that are long enough."""
    said = set(spoken)
    for word in spoken:
        stems = [word[:-chars] for chars in range(1, _ENDING_CHARS + 1)]
        stems += [word.removesuffix("mente")]  # as in `formalmente`
        said.update(stem for stem in stems if len(stem) >= _STEM_CHARS)
    return said


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", fold(text)))
