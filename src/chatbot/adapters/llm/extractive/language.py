"""The language data of `local/extractive`: its TOML files, validated and compiled once."""

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
PatternName = Literal[
    "opener", "time", "inner_time", "request", "question", "lookup", "tag", "doubt", "foreign",
    "boundary", "correction", "aside", "self_correction", "courtesy", "article", "role_end",
    "not_role", "job", "not_name", "not_name_shape", "title", "apposition", "department", "to_you",
    "next_task", "length", "format",
]  # fmt: skip
Pattern = re.Pattern[str]


class Rule(BaseModel):
    """What a clause that begins with `pattern` states; `take` is the part that is stored.

    `value` is stored if `take` says so; otherwise it is the context of a value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Kind
    take: Take
    pattern: Pattern
    value: str = ""


class Language(BaseModel):
    """The patterns (all for normalised text), word lists and phrases of a language."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    code: Code
    spelling: Spelling
    rules: tuple[Rule, ...]
    asks: dict[str, Pattern]
    keys: dict[str, Pattern]
    patterns: dict[PatternName, Pattern]
    given_names: frozenset[str]
    name_particles: frozenset[str]
    stop: frozenset[str]
    verbs: frozenset[str]
    synonyms: dict[str, str]
    tongues: dict[str, str]
    shown: dict[str, str]
    labels: dict[str, str]
    phrases: dict[str, str]

    def __getitem__(self, name: PatternName) -> Pattern:
        return self.patterns[name]

    def is_question(self, plain: str) -> bool:
        """Whether a normalised sentence begins like a question, after any greeting."""
        opened = self["opener"].match(plain)
        return self["question"].match(plain, opened.end() if opened else 0) is not None


@cache
def language(code: Code) -> Language:
    """Load a language, once: the first call takes some tens of milliseconds."""
    shared, raw = _read("shared"), _read(code)
    lists: dict[str, list[str]] = {**shared.pop("lists"), **raw.pop("lists")}
    slots = {name: "|".join(words) for name, words in lists.items()}
    patterns = {
        "patterns": {name: _filled(text, slots) for name, text in shared["patterns"].items()},
        "asks": {key: _filled("|".join(each), slots) for key, each in raw.pop("asks").items()},
        "rules": [rule for table in raw.pop("rules") for rule in _rules(table, slots)],
    }
    plain_words = re.findall("[a-z]{4,}", f"{patterns} {slots | {'fuzzy': ''}}")
    spelling = Spelling(
        words=_spellings(_inverted(raw.pop("spelling")), raw.pop("contractions", {}), lists),
        endings=raw.pop("endings", {}),
        fuzzy=tuple(lists["fuzzy"]),
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
    """Map each word of a table of lists to its key."""
    return {word: key for key, words in table.items() for word in words}


def _spellings(
    words: dict[str, str], endings: Mapping[str, str], lists: Mapping[str, list[str]]
) -> dict[str, str]:
    """Map spellings to their meanings, contractions also without their apostrophe."""
    for word in lists.get("contracted", []):
        ending = next(each for each in endings if word.endswith(each))
        words[word] = word.removesuffix(ending) + endings[ending]
    bare = {word.replace("'", ""): meant for word, meant in words.items() if "'" in word}
    return {w: m for w, m in bare.items() if w not in lists["no_contraction"]} | words


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _filled(pattern: str, slots: Mapping[str, str]) -> str:
    """The pattern with each `{name}` replaced by the words of that list."""
    while (filled := re.sub(r"\{([a-z_]+)\}", lambda slot: slots[slot[1]], pattern)) != pattern:
        pattern = filled
    return pattern
