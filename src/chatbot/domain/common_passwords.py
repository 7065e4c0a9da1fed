"""Counts the characters of a password that are not common words, runs of keys or years.

An offline blocklist (NIST SP 800-63B-4, section 3.1.1.2) for passwords of 15 characters and more.
Leaked lists hold few entries of that length; instead, people pad a short favourite:
`password1234567`, `Contraseña.2024`, `qwertyqwertyqwerty`. So the words are taken out together with
runs and years, and what counts is what is left.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from chatbot.domain.text import fold

MIN_RUN_LETTERS = 4  # three are part of many words: `hij` of `hijo`, `stu` of `student`
MIN_RUN_DIGITS = 3
MIN_WORD_CHARS = 3

_ROWS = (
    "1234567890" * 2,
    "abcdefghijklmnopqrstuvwxyz" * 2,
    "qwertyuiop" * 2,
    "asdfghjkl" * 2,
    "zxcvbnm" * 2,
    "azertyuiop",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol",
    "qazwsxedcrfvtgbyhnujmikolp",
    "1q2w3e4r5t6y7u8i9o0p",
    "a1b2c3d4e5f6g7h8i9j0",
    "1a2b3c4d5e6f7g8h9i0j",
    "1357924680" * 2,
    "112233445566778899",
)
_RUNS = _ROWS + tuple(row[::-1] for row in _ROWS)
_LEET = {"a": "a4@", "e": "e3", "i": "i1", "l": "l1", "o": "o0", "s": "s5$", "t": "t7"}
_YEARS_AND_REPEATS = re.compile(r"(?:19|20)\d\d|(.)\1\1+")


def unpredictable_chars(password: str, *, also: Iterable[str] = ()) -> int:
    """Return how many characters are left of a password without its predictable parts.

    Those are: repetitions of the whole, common words (also with accents, capitals, blanks or
    digits for letters), the words in `also`, runs of keys, the alphabet or digits, years, and a
    character three times or more. Each kind of blank or punctuation counts once.
    """
    folded = fold(password)
    punctuation = {char for char in folded if not _is_text(char)}
    rest = _once("".join(char for char in folded if _is_text(char)))
    rest = _common().sub("", rest)
    rest = _pattern(also).sub("", rest)
    rest = _YEARS_AND_REPEATS.sub("", _without_runs(rest))
    return len(rest) + len(punctuation)


def _is_text(char: str) -> bool:
    """Whether the character is neither punctuation nor blank. `@`, `$` and emoji count as text."""
    return char.isalnum() or char in "@$" or not (char.isascii() or char.isspace())


def _once(text: str) -> str:
    """Return the unit of which the text is a repetition (the last one may be cut), or the text."""
    for length in range(1, len(text) // 2 + 1):
        if text[length:] == text[:-length]:
            return text[:length]
    return text


@cache
def _common() -> re.Pattern[str]:
    return _pattern(files(__package__).joinpath("common_passwords.txt").read_text("utf-8").split())


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Return what finds the words, the longest first, with digits for letters."""
    plain = {"".join(filter(_is_text, fold(word))) for word in words}
    known = sorted((word for word in plain if len(word) >= MIN_WORD_CHARS), key=len, reverse=True)
    return re.compile("|".join(map(_leet, known)) or r"(?!)")


def _leet(word: str) -> str:
    return "".join(f"[{_LEET[char]}]" if char in _LEET else re.escape(char) for char in word)


def _without_runs(text: str) -> str:
    rest: list[str] = []
    at = 0
    while at < len(text):
        length = _run_length(text, at)
        needed = MIN_RUN_DIGITS if text[at].isdigit() else MIN_RUN_LETTERS
        if length < needed:
            rest.append(text[at])
            length = 1
        at += length
    return "".join(rest)


def _run_length(text: str, at: int) -> int:
    """Return the length of the longest piece of a row of keys that begins here."""
    end = at + 1
    while end < len(text) and any(text[at : end + 1] in run for run in _RUNS):
        end += 1
    return end - at
