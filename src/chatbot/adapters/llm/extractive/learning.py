"""From what a person states to an update of memory, with what is remembered in sight."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from chatbot.adapters.llm.extractive.clauses import Statement
from chatbot.adapters.llm.extractive.language import CODES, language
from chatbot.adapters.llm.extractive.statements import stated
from chatbot.domain.memory_updates import Update
from chatbot.domain.text import fold

_PREFERENCES = frozenset({"language", "tone", "length", "format"})
_KEYED = frozenset({"name", "role", "department", *_PREFERENCES})
_STEM_CHARS = 4
_ENOUGH = 0.5  # of the words of the shorter text have to be the same


@dataclass(slots=True)
class Learned:
    """What messages change: the update of memory, in the order in which it was said.

    `nicknamed`: the message says how the person is called; a name beside that is the full one.
    """

    profile: dict[str, str] = field(default_factory=dict)
    preferences: dict[str, str] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)
    todos: list[str] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    nicknamed: bool = False

    def as_update(self) -> dict[str, object]:
        """As the answer to `extract_memory`; what is empty is left out."""
        parts: dict[str, object] = {
            "profile": self.profile,
            "preferences": self.preferences,
            "facts": self.facts,
            "todos": self.todos,
            "forget": self.forget,
            "done": self.done,
        }
        return {name: part for name, part in parts.items() if part}

    def keyed(self) -> dict[str, str]:
        """Profile and preferences."""
        return self.profile | self.preferences


def stems(text: str) -> frozenset[str]:
    """The beginnings of the words that carry meaning, in either language."""
    return frozenset(_stems_in_order(text))


def _stems_in_order(text: str) -> list[str]:
    words = re.findall(r"\w+", fold(text))
    known = [language(code) for code in CODES]
    stemmed = (_stem(word) for word in words if not any(word in each.stop for each in known))
    return [next((k.synonyms[s] for k in known if s in k.synonyms), s) for s in stemmed]


def _stem(word: str) -> str:
    return word[:_STEM_CHARS].rstrip("aeiou") if len(word) >= _STEM_CHARS else word


@cache
def _verbs() -> frozenset[str]:
    """The stems of verbs: who called the plumber has not called the bank."""
    words = (re.findall("[a-z]+", each)[:1] for code in CODES for each in language(code).verbs)
    return frozenset(stem for first in words for stem in stems("".join(first)))


def learned(texts: Iterable[str], known: Update) -> Learned:
    """What the texts change in memory; `known` is what is remembered so far."""
    result = Learned()
    for text in texts:
        result.nicknamed = False
        for statement in stated(text):
            _take(result, statement, known)
    return result


def _take(result: Learned, statement: Statement, known: Update) -> None:
    match statement.kind:
        case "forget" | "deny":
            _forget(result, statement, known)
        case "done":
            _finish(result, statement.value, known)
        case "todo" | "fact":
            new = result.todos if statement.kind == "todo" else result.facts
            old = known.todos if statement.kind == "todo" else known.facts
            if not any(stems(each) == stems(statement.value) for each in (*old, *new)):
                new.append(statement.value)
        case "nickname":
            if full := result.profile.get("name"):
                result.profile["full_name"] = full
            result.profile["name"] = statement.value
            result.nicknamed = True
        case "full_name" | "name" if result.nicknamed or statement.kind == "full_name":
            has_name = "name" in {**known.profile, **result.profile}
            result.profile["full_name" if has_name else "name"] = statement.value
        case "name" | "role" | "department" | "language" | "tone" | "length" | "format":
            part = result.preferences if statement.kind in _PREFERENCES else result.profile
            part[statement.kind] = statement.value
            result.forget = [each for each in result.forget if each != statement.kind]


def _forget(result: Learned, statement: Statement, known: Update) -> None:
    if statement.everything:
        known_names = [*known.profile, *known.preferences, *known.facts, *known.todos]
        forget = list(dict.fromkeys([*result.forget, *known_names]))
        for part in (result.profile, result.preferences, result.facts, result.todos, result.done):
            part.clear()
        result.forget = forget
        return
    what = statement.value
    keys = _keys_of(f"{statement.context} {what}".strip())
    values = {**known.profile, **known.preferences, **result.keyed()}
    if statement.context:  # `I am no nurse` says nothing about somebody who is a doctor
        is_denial = statement.kind == "deny"
        keys = [k for k in keys if (k in values or not is_denial) and _is_same(k, values, what)]
        if is_denial and not keys:
            return
    result.facts = _without(result.facts, what)
    result.todos = _without(result.todos, what)
    if "name" in keys and "full_name" in values:
        keys.append("full_name")
    for key in keys:
        result.profile.pop(key, None)
        result.preferences.pop(key, None)
    unnamed = [] if known.facts or known.todos or statement.context else [what]
    named = keys or _stored(what, known) or unnamed
    result.forget += [each for each in named if each not in result.forget]


def _is_same(key: str, values: Mapping[str, str], what: str) -> bool:
    """Whether the key has no value, or the one that is denied."""
    return key not in values or bool(stems(values[key]) & stems(what))


def _finish(result: Learned, what: str, known: Update) -> None:
    result.todos = _without(result.todos, what)
    task = best_match(what, known.todos) or ("" if known.todos else what)
    if task and task not in result.done:
        result.done.append(task)


def _keys_of(what: str) -> list[str]:
    """The key that the words stand for, as `my name`, or as `I am a nurse` does."""
    for code in CODES:
        for key, pattern in language(code).keys.items():
            if pattern.search(fold(what)):
                return [key]
    said = [each.kind for each in stated(what)]
    return [kind for kind in said[:1] if kind in _KEYED]


def _stored(what: str, known: Update) -> list[str]:
    """The stored text, or the key, that the words mean."""
    for key, value in (*known.profile.items(), *known.preferences.items()):
        is_same = stems(value) == stems(what) or (
            key == "department" and stems(value) <= stems(what)
        )
        if stems(value) and is_same:
            return [key]
    text = best_match(what, (*known.todos, *known.facts), verb_will_do=True)
    return [text] if text else []


def best_match(what: str, texts: Sequence[str], *, verb_will_do: bool = False) -> str | None:
    """The text that shares most words with this, if it shares enough, and more than the others.

    A verb that the text lacks tells them apart. A shared verb alone counts only if `verb_will_do`,
    as in `forget where I live`.
    """
    likeness = {text: _likeness(stems(what), text, verb_will_do) for text in texts}
    best = max(likeness, key=likeness.__getitem__, default=None)
    is_clear = best is not None and [*likeness.values()].count(likeness[best]) == 1
    return best if is_clear and likeness[best or ""] > 0 else None


def _likeness(wanted: frozenset[str], text: str, verb_will_do: bool) -> float:
    words = stems(text)
    shared = wanted & words
    fewer = min(len(wanted), len(words))
    is_about_it = shared - _verbs() or shared == words or (verb_will_do and shared == wanted)
    is_other = (wanted & _verbs()) - words
    if not shared or is_other or not is_about_it or len(shared) < fewer * _ENOUGH:
        return 0.0
    return len(shared) / len(wanted | words)


def _without(texts: Sequence[str], what: str) -> list[str]:
    gone = best_match(what, texts)
    return [text for text in texts if text != gone]


def items(update: Update) -> Iterator[str]:
    """Everything in an update in words, keys left out."""
    yield from update.profile.values()
    yield from update.preferences.values()
    yield from update.facts
    yield from update.todos
