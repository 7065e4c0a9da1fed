"""Letters that look like Latin ones, and characters that are not displayed: both hide words from rules.

Only words that mix alphabets are changed, and words of look-alikes alone in a Latin text, so that a
text in Russian or Greek stays as it is.
"""

import re
import unicodedata

_LOOKALIKES = str.maketrans(
    # Cyrillic
    "аеорсухіјѕԁԛԝһӏьвкмнтгпАВЕКМНОРСТУХІЈЅԌ"
    # Greek
    "αορινκυτγεβημχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"
    "ϲςϹ"
    # Armenian, Coptic and Cherokee
    "օսոռհցզԼՏՕՍ"
    "ⲁⲉⲓⲕⲟⲣⲥⲧⲩⲭⲀⲈⲎⲒⲔⲘⲚⲞⲢⲤⲦⲨⲬ"
    "\u13aa\u13f4\u13df\u13a0\u13ac\u13c0\u13bb\u13ab\u13e6\u13de\u13b7\u13e2\u13a1\u13da\u13a2\u13d9\u13d4\u13c3"
    # Latin letters of other alphabets, and small capitals
    "ıɑɡɩƖꞃꞅꞇ"
    "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ",
    "aeopcyxijsdqwhlbbkmhtrnABEKMHOPCTYXIJSGaopivkutyebnuxABEZHIKMNOPTYX"
    "ccC"
    "ounnhgqLSOU"
    "aeikopctyxAEHIKMNOPCTYX"
    "ABCDEGHJKLMPRSTVWZ"
    "iagiIrst"
    "abcdefghijklmnoprstuvwyz",
)
_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile(r"[a-zA-Z]")
_HIDDEN = frozenset({"\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u3164", "\uffa0"})
"""Characters without a glyph that are not in the category of format characters."""


def unmasked(text: str) -> str:
    """Return the text in compatible form (NFKC), without hidden characters and with Latin letters in
    place of look-alikes in words that are written with both.
    """
    if text.isascii():
        return text
    plain = "".join(char for char in unicodedata.normalize("NFKC", text) if not _is_hidden(char))
    is_latin = _LATIN.search(plain) is not None
    return _WORD.sub(lambda found: _latin(found[0]) if is_latin else found[0], plain)


def latin(text: str) -> str:
    """Return the text with Latin letters in place of all look-alikes, for comparing it only."""
    return unmasked(text).translate(_LOOKALIKES)


def _latin(word: str) -> str:
    """Return a word with letters of one alphabet, if its other letters are look-alikes."""
    changed = word.translate(_LOOKALIKES)
    is_mixed = _LATIN.search(word) is not None
    return changed if is_mixed or changed.isascii() else word


def _is_hidden(char: str) -> bool:
    is_format = unicodedata.category(char) == "Cf"
    return is_format or char in _HIDDEN or "\ufe00" <= char <= "\ufe0f" or char >= "\U000e0000"
