"""The service's own texts in each language, read from `prompt_texts.toml`, and the choice of language."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from chatbot.domain.person_memory import MemorySettings
from chatbot.domain.text import detect_language

Language = Literal["es", "en"]
LANGUAGES: tuple[Language, ...] = ("es", "en")
DEFAULT_LANGUAGE: Language = "es"


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The texts in one language: for people the first four, the others for the model."""

    name: str
    notice: str
    memory_on: str
    memory_off: str
    system: str
    summarize: str
    extract: str
    repair: str


@cache
def texts_in(language: Language) -> Texts:
    """Return the texts in this language."""
    tables = tomllib.loads(files(__package__).joinpath("prompt_texts.toml").read_text("utf-8"))
    return Texts(**tables[language])


def language_of(prompts: Iterable[str], *, preferred: Language | None) -> Language:
    """Return the preferred language, else that of the first prompt whose language is detected.

    Prompts come newest first, so that the texts follow a user who changes the language.
    """
    found = (detect_language(prompt) for prompt in prompts)
    return preferred or next(filter(None, found), None) or DEFAULT_LANGUAGE


def memory_in(language: Language, settings: MemorySettings) -> str:
    """Return what is kept of a person with these settings, in plain words."""
    texts = texts_in(language)
    return texts.memory_on if settings.enabled else texts.memory_off


def notice_in(language: Language, own: str | None) -> str | None:
    """Return the company's notice, or the built-in one; None if the company's is empty."""
    return (texts_in(language).notice if own is None else own) or None
