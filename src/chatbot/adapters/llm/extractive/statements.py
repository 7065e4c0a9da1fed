"""Finds what a person states about themselves in a message, sentence by sentence."""

import re
from collections.abc import Iterable, Sequence
from itertools import islice

from chatbot.adapters.llm.extractive.clauses import SentenceReader, Statement
from chatbot.adapters.llm.extractive.language import CODES, Language, language
from chatbot.adapters.llm.extractive.wording import wording
from chatbot.domain.text import detect_language

MAX_TEXT_CHARS = 1500  # a longer one was pasted
_MAX_SENTENCES = 40

_COURTESIES = ("hello", "thanks", "bye")

_QUOTED = re.compile(
    r"```.*?(?:```|\Z)|\"[^\"\n]*\"|«[^«»\n]*»|\u201c[^\u201c\u201d\n]*\u201d|(?m:^)[ \t]*>[^\n]*",
    re.DOTALL,
)
_ELLIPSIS = re.compile(r"\.{2,}|…")
_LISTED = re.compile(
    r"\s*(?:a|en|to|on|from|off|de|as|como) (?:mi|mis|la|my|the|done|hech)", re.IGNORECASE
)
_PICTURE = re.compile(r"(?<!\w):-?[()DP](?!\w)|;-?\)|<3")
_TITLES = "".join(rf"(?<!\b{title}\.)" for title in ("Dr", "dr", "Mr", "Ms", "Sr", "sr", "Mrs", "Dra", "Sra"))  # fmt: skip
_SENTENCE = re.compile(rf"(?<=[.!?…]){_TITLES}\s+|[\n;]+\s*")


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences; the end of a line ends one, too."""
    return _SENTENCE.split(text)


def own_sentences(text: str, languages: Iterable[Language]) -> list[str]:
    """The user's own sentences, without quotations, code, and text to be translated."""
    known, found = list(languages), list[str]()
    for sentence in split_sentences(_without_quotations(text)):
        if any(_is_foreign(sentence, each) for each in known):
            break
        found.append(sentence)
    return found


def _without_quotations(text: str) -> str:
    """The text without quotations and code, except quoted tasks for the list."""

    def kept(quoted: re.Match[str]) -> str:
        is_listed = _LISTED.match(text, quoted.end()) and "\n" not in quoted[0]
        return quoted[0].strip('"«»\u201c\u201d') if is_listed else " "

    return _QUOTED.sub(kept, text)


def _is_foreign(sentence: str, known: Language) -> bool:
    """Whether another person's text begins here, or an attempt to override instructions."""
    return known["foreign"].search(wording(sentence, known.spelling).plain) is not None


def plain_sentences(text: str, known: Language) -> list[str]:
    """The first sentences of a text in plain form."""
    cut = split_sentences(text[:MAX_TEXT_CHARS])[:_MAX_SENTENCES]
    return [wording(each, known.spelling).plain for each in cut]


def stated(text: str) -> list[Statement]:
    """What the user states in a message; nothing if it is so long that it was pasted."""
    if len(text) > MAX_TEXT_CHARS:
        return []
    own = _ELLIPSIS.sub(", ", _PICTURE.sub(" , ", _without_quotations(text)))
    for known in languages_of(own):
        said = (wording(each, known.spelling) for each in own_sentences(own, [known]))
        read = (SentenceReader(each, known).statements() for each in islice(said, _MAX_SENTENCES))
        if found := [statement for statements in read for statement in statements]:
            return found
    return []


def is_question(text: str) -> bool:
    """Whether the text is a question, by its question mark or its first words."""
    return any(
        plain.rstrip().endswith("?") or known.is_question(plain)
        for known in languages_of(text)
        for plain in plain_sentences(text, known)
    )


def is_courtesy(sentence: str) -> bool:
    """Whether a sentence is only a greeting, thanks or a farewell."""
    plain = [(known, wording(sentence, known.spelling).plain) for known in languages_of(sentence)]
    return any(known.asks[key].search(text) for known, text in plain for key in _COURTESIES)


def languages_of(text: str) -> Sequence[Language]:
    """The language of a text, or both if it cannot be detected."""
    code = detect_language(text)
    return [language(code)] if code else [language(each) for each in CODES]
