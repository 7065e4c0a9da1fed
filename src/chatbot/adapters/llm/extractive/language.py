"""What `local/extractive` knows of a language: its data file, checked and compiled once."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from chatbot.adapters.llm.extractive.wording import Spelling

Code = Literal["es", "en"]
CODES: tuple[Code, ...] = ("es", "en")

Kind = Literal[
    "forget", "deny", "done", "tone", "length", "format", "language", "todo", "role", "nickname",
    "full_name", "name", "department", "fact",
]  # fmt: skip
Take = Literal[
    "rest", "clause", "relation", "statement", "group", "value", "name", "weak_name", "role", "job",
    "everything",
]  # fmt: skip
Pattern = re.Pattern[str]


class Rule(BaseModel):
    """What a clause that begins like `pattern` says; `take` is the part of it that is learnt.

    `value` is what is learnt where `take` says so; else it is the context of a value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Kind
    take: Take
    pattern: Pattern
    value: str = ""


class Language(BaseModel):
    """The patterns, all over plain text, the word lists and the phrases of a language."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    code: Code
    spelling: Spelling
    rules: tuple[Rule, ...]
    asks: dict[str, Pattern]
    keys: dict[str, Pattern]
    opener: Pattern
    time: Pattern
    inner_time: Pattern
    request: Pattern
    question: Pattern
    tag: Pattern
    doubt: Pattern
    foreign: Pattern
    boundary: Pattern
    correction: Pattern
    aside: Pattern
    self_correction: Pattern
    courtesy: Pattern
    article: Pattern
    role_end: Pattern
    not_role: Pattern
    job: Pattern
    not_name: Pattern
    not_name_shape: Pattern
    title: Pattern
    apposition: Pattern
    department: Pattern
    to_you: Pattern
    next_task: Pattern
    length: Pattern
    format: Pattern
    given_names: frozenset[str]
    name_particles: frozenset[str]
    stop: frozenset[str]
    verbs: frozenset[str]
    synonyms: dict[str, str]
    tongues: dict[str, str]
    shown: dict[str, str]
    labels: dict[str, str]
    phrases: dict[str, str]

    def is_question(self, plain: str) -> bool:
        """Whether a plain sentence begins like a question, greetings aside."""
        opened = self.opener.match(plain)
        return self.question.match(plain, opened.end() if opened else 0) is not None


@cache
def language(code: Code) -> Language:
    """Read and compile a language; it is kept. The first call takes some tens of milliseconds."""
    shared, raw = _read("shared"), _read(code)
    lists: dict[str, list[str]] = {**shared.pop("lists"), **raw.pop("lists")}
    slots = {name: "|".join(words) for name, words in lists.items()}
    patterns = {
        **{name: _filled(text, slots) for name, text in shared.pop("patterns").items()},
        "asks": {key: _filled("|".join(each), slots) for key, each in raw.pop("asks").items()},
        "rules": [rule for table in raw.pop("rules") for rule in _rules(table, slots)],
    }
    plain_words = re.findall("[a-z]{4,}", f"{patterns} {slots | {'fuzzy': ''}}")
    spelling = Spelling(
        words=_spellings(_inverted(raw.pop("spelling")), raw.pop("contractions", {}), lists),
        endings=raw.pop("endings", {}),
        fuzzy=lists["fuzzy"],
        vocabulary=frozenset(plain_words),  # they are right as they are
    )
    sets = {name: lists[name] for name in ("given_names", "name_particles", "stop", "verbs")}
    inverted = {name: _inverted(raw.pop(name)) for name in ("synonyms", "tongues")}
    parts = {**raw, **patterns, **sets, **inverted, "code": code, "spelling": spelling}
    return Language.model_validate(parts)


def _rules(table: dict[str, Any], slots: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rules of a table: one, or one for each of its `values`."""
    values = table.pop("values", None) or {table.pop("value", ""): table.pop("patterns")}
    patterns = {v: "|".join(f"(?:{each})" for each in found) for v, found in values.items()}
    return [{**table, "value": v, "pattern": _filled(p, slots)} for v, p in patterns.items()]


def _inverted(table: Mapping[str, list[str]]) -> dict[str, str]:
    """The key of each word in a table of lists."""
    return {word: key for key, words in table.items() for word in words}


def _spellings(
    words: dict[str, str], endings: Mapping[str, str], lists: Mapping[str, list[str]]
) -> dict[str, str]:
    """What each spelling stands for, with contractions, these also without their apostrophe."""
    for word in lists.get("contracted", []):
        ending = next(each for each in endings if word.endswith(each))
        words[word] = word.removesuffix(ending) + endings[ending]
    bare = {word.replace("'", ""): meant for word, meant in words.items() if "'" in word}
    return {w: m for w, m in bare.items() if w not in lists["no_contraction"]} | words


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _filled(pattern: str, slots: Mapping[str, str]) -> str:
    """The pattern with the words of a list in the place of `{its_name}`."""
    while (filled := re.sub(r"\{([a-z_]+)\}", lambda slot: slots[slot[1]], pattern)) != pattern:
        pattern = filled
    return pattern
