"""From what a person states to an update of memory, with what is remembered in sight."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from chatbot.adapters.llm.extractive.clauses import Statement
from chatbot.adapters.llm.extractive.language import CODES, language
from chatbot.adapters.llm.extractive.statements import stated
from chatbot.domain.memory_updates import Update
from chatbot.domain.text import fold

_PREFERENCES = frozenset({"language", "tone"})
_KEYED = frozenset({"name", "role", "department", "language", "tone"})
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
    words = re.findall(r"\w+", fold(text))
    ignored = [language(code).stop for code in CODES]
    return frozenset(
        word[:_STEM_CHARS] for word in words if not any(word in stop for stop in ignored)
    )


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
        case "forget":
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
        case "name" | "role" | "department" | "language" | "tone":
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
    result.facts = _without(result.facts, what)
    result.todos = _without(result.todos, what)
    keys = _keys_of(f"{statement.context} {what}".strip())
    if "name" in keys and "full_name" in {**known.profile, **result.profile}:
        keys.append("full_name")
    for key in keys:
        result.profile.pop(key, None)
        result.preferences.pop(key, None)
    named = keys or _stored(what, known) or [what]
    result.forget += [each for each in named if each not in result.forget]


def _finish(result: Learned, what: str, known: Update) -> None:
    result.todos = _without(result.todos, what)
    task = best_match(what, known.todos) or what
    if task not in result.done:
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
    text = best_match(what, (*known.todos, *known.facts))
    return [text] if text else []


def best_match(what: str, texts: Sequence[str]) -> str | None:
    """The text that shares most words with this, if it shares enough."""
    wanted = stems(what)

    def likeness(text: str) -> float:
        shared = len(wanted & stems(text))
        fewer = min(len(wanted), len(stems(text)))
        return shared / len(wanted | stems(text)) if fewer and shared / fewer >= _ENOUGH else 0.0

    best = max(texts, key=likeness, default=None)
    return best if best is not None and likeness(best) > 0 else None


def _without(texts: Sequence[str], what: str) -> list[str]:
    gone = best_match(what, texts)
    return [text for text in texts if text != gone]


def items(update: Update) -> Iterator[str]:
    """Everything in an update in words, keys left out."""
    yield from update.profile.values()
    yield from update.preferences.values()
    yield from update.facts
    yield from update.todos
