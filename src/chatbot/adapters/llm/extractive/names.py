"""Reading a person's name where a sentence introduces one."""

import re
from dataclasses import dataclass

from chatbot.adapters.llm.extractive.language import CODES, Language, language
from chatbot.adapters.llm.extractive.wording import Wording

_MAX_WORDS = 4
_WORD = re.compile(r"[^\W\d_](?:['\u2019-]?[^\W\d_])*")
_NATIONALITY = re.compile("(?:ian|ese|ish)$")  # in English with a capital like a name
_MIN_UNKNOWN_CHARS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A capitalised name, and where it ends in the plain text."""

    text: str
    end: int


def name_at(
    said: Wording, known: Language, start: int, *, is_weak: bool, greeted: bool
) -> Name | None:
    """The name that begins at `start`, or None.

    After `my name is`, any word that has no other meaning is a name. After a weak introduction,
    as `I am`, a name begins with a capital or is a common one; an uncommon name in lower case
    counts only after a greeting, and if nothing else follows.
    """
    plain = said.plain
    start += len(plain[start:]) - len(plain[start:].lstrip(" :,"))
    if title := known["title"].match(plain, start):
        start = title.end()
    words = _words(said, known, start)
    if not words:
        return None
    end = words[-1][1]
    if said.plain[:end].endswith("'s"):  # `this is Ana's report`
        return None
    if is_weak and not _is_believed(said, known, words, greeted=greeted):
        return None
    shouted = said.written.upper() == said.written
    text = " ".join(_capitalised(said.source(a, b), shouted=shouted) for a, b in words)
    return Name(text=text, end=end)


def _words(said: Wording, known: Language, start: int) -> list[tuple[int, int]]:
    """The spans of the words of the name; none if there are too many."""
    plain, at = said.plain, start
    found: list[tuple[int, int]] = []
    is_any_case = False
    while word := _WORD.match(plain, at):
        text = word[0]
        is_particle = text in language("en").name_particles and bool(found)
        if is_particle and not _goes_on(said, word.end()):
            break
        if not is_particle and (known["not_name"].match(text) or text in known.stop):
            break
        is_capital = said.source(*word.span())[:1].isupper()
        if not found:
            is_any_case = not is_capital or said.written.isupper()
        elif not (is_particle or is_capital or is_any_case or _is_given(text)):
            break
        found.append(word.span())
        at = word.end()
        if plain[at : at + 1] != " ":
            break
        at += 1
    if sum(plain[a:b] not in language("en").name_particles for a, b in found) > _MAX_WORDS:
        return []
    return found


def _goes_on(said: Wording, end: int) -> bool:
    """Whether a name continues after a particle, with a capital, as in `Iñigo de Haro`."""
    following = re.compile(r" (?:(?:la|las|los|el|der|den) )?([^\W\d_]\w*)").match(said.plain, end)
    if following is None:
        return False
    word = said.source(*following.span(1))
    return word[:1].isupper() and not said.written.isupper()


def _is_given(word: str) -> bool:
    return any(word in language(code).given_names for code in CODES)


def _is_believed(
    said: Wording, known: Language, words: list[tuple[int, int]], *, greeted: bool
) -> bool:
    first = said.plain[slice(*words[0])]
    written = said.source(*words[0])
    shouted = said.written.isupper()
    if _is_given(first):
        return True
    if written[:1].isupper() and not shouted:
        is_people = _NATIONALITY.search(first) is not None
        return len(words) > 1 or not (is_people or known["job"].match(first))
    after = said.plain[words[-1][1] :]
    alone = not after.strip(" ,.!?") or after[:1] in ",.!?" or known["department"].match(after)
    is_odd = known["not_name_shape"].match(first) or known["job"].match(first)
    short = len(first) < _MIN_UNKNOWN_CHARS or len(words) > 2
    return bool(greeted and alone and not is_odd and not short)


def _capitalised(word: str, *, shouted: bool) -> str:
    if word.casefold() in language("en").name_particles:
        return word.lower()
    if word.islower() or (word.isupper() and (shouted or len(word) > 2)):
        parts = re.split(r"(['\u2019-])", word.lower())
        return "".join(part[:1].upper() + part[1:] for part in parts)
    return word
