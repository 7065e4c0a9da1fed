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
        "rules": [
            {"pattern": _filled("|".join(f"(?:{x})" for x in rule.pop("patterns")), slots), **rule}
            for rule in raw.pop("rules")
        ],
    }
    plain_words = re.findall("[a-z]{4,}", f"{patterns} {slots | {'fuzzy': ''}}")
    words: dict[str, str] = raw.pop("spelling")
    bare = {word.replace("'", ""): plain for word, plain in words.items() if "'" in word}
    spelling = Spelling(
        words={**{k: v for k, v in bare.items() if k not in lists["no_contraction"]}, **words},
        endings=raw.pop("endings", {}),
        fuzzy=lists["fuzzy"],
        vocabulary=frozenset(plain_words),  # they are right as they are
    )
    sets = {name: lists[name] for name in ("given_names", "name_particles", "stop", "verbs")}
    return Language.model_validate({**raw, **patterns, **sets, "code": code, "spelling": spelling})


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _filled(pattern: str, slots: Mapping[str, str]) -> str:
    """The pattern with the words of a list in the place of `{its_name}`."""
    while (filled := re.sub(r"\{([a-z_]+)\}", lambda slot: slots[slot[1]], pattern)) != pattern:
        pattern = filled
    return pattern
