"""Turns a person's statements into an update of memory, compared with what is stored."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from chatbot.adapters.llm.extractive.clauses import Statement
from chatbot.adapters.llm.extractive.language import CODES, language
from chatbot.adapters.llm.extractive.statements import stated
from chatbot.domain.memory import Update
from chatbot.domain.memory_guards import is_refused
from chatbot.domain.person_memory import ItemKind
from chatbot.domain.text import fold

_PREFERENCES = frozenset({"language", "tone", "length", "format"})
_KEYED = frozenset({"name", "role", "department", *_PREFERENCES})
_UNDOING = frozenset({"forget", "deny", "done"})
_STEM_CHARS = 4
_ENOUGH = 0.5  # of the words of the shorter text have to be the same


@dataclass(slots=True)
class Learned:
    """The update of memory from messages, in their order.

    `known_facts` and `known_todos` are stored items that were said again. `nicknamed`: the message
    contains a nickname, so another name in it is the full one.
    """

    profile: dict[str, str] = field(default_factory=dict)
    preferences: dict[str, str] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)
    todos: list[str] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    known_facts: list[str] = field(default_factory=list)
    known_todos: list[str] = field(default_factory=list)
    nicknamed: bool = False

    def as_operations(self) -> dict[str, object]:
        """As the answer to `extract_memory`, without empty parts."""
        keyed = (("profile", self.profile), ("preference", self.preferences))
        facts, todos = [*self.known_facts, *self.facts], [*self.known_todos, *self.todos]
        stated: list[dict[str, str]] = [
            {"kind": kind, "key": key, "text": text}
            for kind, values in keyed
            for key, text in values.items()
        ]
        stated += [{"kind": "fact", "text": text} for text in facts]
        stated += [{"kind": "todo", "text": text} for text in todos]
        parts = {"set": stated, "done": self.done, "forget": self.forget}
        return {name: part for name, part in parts.items() if part}

    def keyed(self) -> dict[str, str]:
        """Profile and preferences."""
        return self.profile | self.preferences


def stems(text: str) -> frozenset[str]:
    """The stems of the words that carry meaning, in either language."""
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
    """The stems of verbs: a shared verb alone does not make two texts alike."""
    words = (re.findall("[a-z]+", each)[:1] for code in CODES for each in language(code).verbs)
    return frozenset(stem for first in words for stem in stems("".join(first)))


def learned(texts: Iterable[str], known: Update) -> Learned:
    """What the texts change in memory; `known` is what is stored so far."""
    result = Learned()
    for text in texts:
        result.nicknamed = False
        for statement in stated(text):
            if not _is_refused(statement):
                _take(result, statement, known)
    return result


def _is_refused(statement: Statement) -> bool:
    """Whether memory never stores it: then it is not confirmed either."""
    if statement.kind in _UNDOING:
        return False
    if statement.kind in {"fact", "todo"}:
        return is_refused(ItemKind(statement.kind), None, statement.value)
    return is_refused(ItemKind.PROFILE, statement.kind, statement.value)


def _take(result: Learned, statement: Statement, known: Update) -> None:
    match statement.kind:
        case "forget" | "deny":
            _forget(result, statement, known)
        case "done":
            _finish(result, statement.value, known)
        case "todo" | "fact":
            new = result.todos if statement.kind == "todo" else result.facts
            old = known.todos if statement.kind == "todo" else known.facts
            again = result.known_todos if statement.kind == "todo" else result.known_facts
            stored = [each for each in old if stems(each) == stems(statement.value)]
            again += [each for each in stored if each not in again]
            if not stored and not any(stems(each) == stems(statement.value) for each in new):
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
        result.known_facts, result.known_todos = [], []
        result.forget = forget
        return
    what = statement.value
    values = {**known.profile, **known.preferences, **result.keyed()}
    named = _keys_of(f"{statement.context} {what}".strip(), values)
    named = named or _keys_with(what, values)
    if statement.kind == "deny":  # `I am not a nurse` changes nothing about a doctor
        named = [key for key in named if key in values and stems(values[key]) & stems(what)]
    else:
        result.facts = _without(result.facts, what)
        result.todos = _without(result.todos, what)
        stored = best_match(what, (*known.todos, *known.facts), verb_will_do=True)
        is_keyed = statement.context or any(each.kind in _KEYED for each in stated(what))
        is_unknown = not (is_keyed or known.facts or known.todos)
        if stored and values.keys().isdisjoint(named):  # `my extension`: the telephone's
            named = []
        named = named or [stored or what] * bool(stored or is_unknown)
    if "name" in named and "full_name" in values:
        named.append("full_name")
    for key in named:
        result.profile.pop(key, None)
        result.preferences.pop(key, None)
    result.forget += [each for each in named if each not in result.forget]


def _finish(result: Learned, what: str, known: Update) -> None:
    result.todos = _without(result.todos, what)
    task = best_match(what, known.todos) or ("" if known.todos else what)
    if task and task not in result.done:
        result.done.append(task)


def _keys_of(what: str, values: Mapping[str, str]) -> list[str]:
    """The key that the words name, as `my name`, or state, as `I am a nurse` if that is stored."""
    for code in CODES:
        for key, pattern in language(code).keys.items():
            if pattern.search(fold(what)):
                return [key]
    said = [each for each in stated(what)[:1] if each.kind in _KEYED]
    return [
        each.kind
        for each in said
        if each.kind not in values or stems(values[each.kind]) & stems(each.value)
    ]


def _keys_with(what: str, values: Mapping[str, str]) -> list[str]:
    """The keys with this value; a department may be given with more words."""
    wanted = stems(what)
    return [
        key
        for key, value in values.items()
        if stems(value)
        and (stems(value) == wanted or (key == "department" and stems(value) <= wanted))
    ]


def best_match(what: str, texts: Sequence[str], *, verb_will_do: bool = False) -> str | None:
    """The text that shares most words with this, if it shares enough, and more than the others.

    A text without the verb of `what` does not match. A shared verb alone counts only if
    `verb_will_do`, as in `forget where I live`.
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
    """All values of an update, without keys."""
    yield from update.profile.values()
    yield from update.preferences.values()
    yield from update.facts
    yield from update.todos
