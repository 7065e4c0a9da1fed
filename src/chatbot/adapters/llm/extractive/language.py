"""What `local/extractive` knows of a language: its data file, checked and compiled once."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict

from chatbot.adapters.llm.extractive.wording import Spelling

Code = Literal["es", "en"]
CODES: tuple[Code, ...] = ("es", "en")

Kind = Literal[
    "forget",
    "done",
    "tone",
    "language",
    "todo",
    "role",
    "nickname",
    "full_name",
    "name",
    "department",
    "fact",
]
Take = Literal[
    "rest", "clause", "statement", "group", "value", "name", "weak_name", "role", "job",
    "everything",
]  # fmt: skip


class _RawRule(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Kind
    take: Take
    patterns: list[str]
    value: str = ""


class _RawApposition(BaseModel):
    model_config = ConfigDict(extra="forbid")
    pattern: str
    department: str


class _RawLanguage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    spelling: dict[str, str]
    endings: dict[str, str] = {}
    lists: dict[str, list[str]]
    keys: dict[str, str]
    tongues: dict[str, str]
    tongue_names: dict[str, str]
    rules: list[_RawRule]
    apposition: _RawApposition
    asks: dict[str, list[str]]
    labels: dict[str, str]
    phrases: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a clause that begins like `pattern` says; `take` is the part of it that is learnt.

    `value` is what is learnt where `take` says so; else it is the context of a value.
    """

    kind: Kind
    take: Take
    pattern: re.Pattern[str]
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """The patterns, all over plain text, and the phrases of a language."""

    code: Code
    spelling: Spelling
    rules: tuple[Rule, ...]
    opener: re.Pattern[str]
    time: re.Pattern[str]
    inner_time: re.Pattern[str]
    request: re.Pattern[str]
    question: re.Pattern[str]
    tag: re.Pattern[str]
    doubt: re.Pattern[str]
    foreign: re.Pattern[str]
    boundary: re.Pattern[str]
    correction: re.Pattern[str]
    aside: re.Pattern[str]
    self_correction: re.Pattern[str]
    courtesy: re.Pattern[str]
    article: re.Pattern[str]
    role_end: re.Pattern[str]
    not_role: re.Pattern[str]
    job: re.Pattern[str]
    not_name: re.Pattern[str]
    not_name_shape: re.Pattern[str]
    given_names: frozenset[str]
    title: re.Pattern[str]
    stop: frozenset[str]
    apposition: re.Pattern[str]
    department: re.Pattern[str]
    keys: Mapping[str, re.Pattern[str]]
    tongues: Mapping[str, str]
    tongue_names: Mapping[str, str]
    asks: Mapping[str, re.Pattern[str]]
    labels: Mapping[str, str]
    phrases: Mapping[str, str]

    def is_question(self, plain: str) -> bool:
        """Whether a plain sentence begins like a question, greetings aside."""
        opened = self.opener.match(plain)
        return self.question.match(plain, opened.end() if opened else 0) is not None


def _vocabulary(raw: _RawLanguage) -> frozenset[str]:
    """The words in the patterns: they are right as they are."""
    patterns = [each for rule in raw.rules for each in rule.patterns]
    words = [each for name, listed in raw.lists.items() if name != "fuzzy" for each in listed]
    asked = [each for listed in raw.asks.values() for each in listed]
    return frozenset(re.findall("[a-z]{4,}", " ".join([*patterns, *words, *asked])))


@cache
def language(code: Code) -> Language:
    """Read and compile a language; it is kept. The first call takes some tens of milliseconds."""
    raw = _RawLanguage.model_validate(
        tomllib.loads(files(__package__).joinpath(f"{code}.toml").read_text(encoding="utf-8"))
    )
    lists = {name: "|".join(words) for name, words in raw.lists.items()}

    def compiled(pattern: str) -> re.Pattern[str]:
        while (filled := re.sub(r"\{([a-z_]+)\}", lambda slot: lists[slot[1]], pattern)) != pattern:
            pattern = filled
        return re.compile(pattern)

    def word(name: str) -> re.Pattern[str]:
        return compiled(rf"(?:{{{name}}})\b")

    return Language(
        code=code,
        spelling=Spelling(
            words=raw.spelling,
            endings=raw.endings,
            fuzzy=raw.lists["fuzzy"],
            vocabulary=_vocabulary(raw),
        ),
        rules=tuple(
            Rule(
                kind=rule.kind,
                take=rule.take,
                pattern=compiled("|".join(f"(?:{each})" for each in rule.patterns)),
                value=rule.value,
            )
            for rule in raw.rules
        ),
        opener=compiled(r"(?:(?:{opener})(?:[ ,.!:;)]+|$)){1,6}"),
        time=compiled(r"(?:{time}),? "),
        inner_time=compiled(r"\b(?:{time})\b"),
        request=compiled(r"(?:{request}),? "),
        question=word("question"),
        tag=compiled(r"(?:{tag})[ ?.!]*$"),
        doubt=compiled(r"{doubt}"),
        foreign=compiled(r"{foreign}"),
        boundary=compiled(r"[,:;(](?!\d) ?|,? (?:{boundary}),? "),
        correction=compiled(r",? (?:{correction})[,:]? |, (?:{correction}),? "),
        aside=word("aside"),
        self_correction=compiled(r", (?:{self_correction})[,:]? (?:de |que )?"),
        courtesy=compiled(r"[ ,.!?;:)]+(?:(?:{courtesy})[ ,.!?)]*)?$"),
        article=compiled(r"(?:(?:{article}) )+"),
        role_end=compiled(r"[,.:;!?()]| (?:{role_end})(?= |$|[,.])"),
        not_role=word("not_role"),
        job=compiled(r"(?:{job})"),
        not_name=compiled(r"(?:{not_names})$"),
        not_name_shape=compiled(r"{not_name_shape}"),
        given_names=frozenset(raw.lists["given_names"]),
        title=compiled(r"(?:(?:{title})\.? )"),
        stop=frozenset(raw.lists["stop"]),
        apposition=compiled(raw.apposition.pattern),
        department=compiled(raw.apposition.department),
        keys={key: compiled(rf"\b(?:{pattern})\b") for key, pattern in raw.keys.items()},
        tongues=raw.tongues,
        tongue_names=raw.tongue_names,
        asks={key: compiled("|".join(patterns)) for key, patterns in raw.asks.items()},
        labels=raw.labels,
        phrases=raw.phrases,
    )
