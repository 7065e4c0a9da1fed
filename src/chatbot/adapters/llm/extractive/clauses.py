"""Reads what a sentence states, clause by clause, by the rules of a language."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from chatbot.adapters.llm.extractive.language import Kind, Language, Rule, Take
from chatbot.adapters.llm.extractive.names import name_at
from chatbot.adapters.llm.extractive.wording import Wording, wording
from chatbot.domain.memory import MAX_VALUE_CHARS
from chatbot.domain.text import fold

_MAX_CLAUSES = 24
_EDGES = " ,.;:!?¡¿()\u2026-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One thing that a person stated: its kind, and its value in their own words.

    `context` makes a sentence of the value, as `i am a` before what a person no longer is.
    `everything` means that the whole memory is to be forgotten.
    """

    kind: Kind
    value: str
    context: str = ""
    everything: bool = False


class _Found(NamedTuple):
    """A rule that matched, and where."""

    rule: Rule
    match: re.Match[str]


class _Clause(NamedTuple):
    """A clause: where the previous one ends, where it starts, and its body after any greeting."""

    end_before: int
    start: int
    body: int
    time: str
    rules: tuple[_Found, ...]


class SentenceReader:
    """Reads one sentence in one language."""

    def __init__(self, said: Wording, known: Language) -> None:
        self._said = said
        self._plain = said.plain
        self._known = known

    def statements(self) -> list[Statement]:
        """Read the clauses from last to first, since one ends where the next statement begins."""
        end = 0 if self._known["doubt"].search(self._plain) else self._asserted()
        found: list[Statement] = []
        for clause in reversed(self._clauses(end) if end else []):
            if statements := self._read(clause, end):
                found = [*statements, *found]
            if statements or self._known["aside"].match(self._plain, clause.body):
                end = clause.end_before
        return found

    def _asserted(self) -> int:
        """Where the part that is not a question ends; a request is never one."""
        plain, known = self._plain, self._known
        start = self._after_opener(0, len(plain))
        if known["request"].match(plain, start):
            return len(plain)
        if known["question"].match(plain, start):
            return 0
        if not plain.rstrip().endswith("?"):
            return len(plain)
        mark = self._said.written.find("¿")
        cut = next((i for i, at in enumerate(self._said.starts) if at > mark), 0) if mark > 0 else 0
        cut = cut or plain.rfind(",") + 1
        tail = plain[cut:].strip()
        if cut and not known["tag"].match(tail) and (mark > 0 or known["question"].match(tail)):
            return len(plain[:cut].rstrip(" ,"))
        return 0

    def _clauses(self, end: int) -> list[_Clause]:
        found = self._known["boundary"].finditer(self._plain, 0, end)
        starts = [(0, 0), *(each.span() for each in found)][:_MAX_CLAUSES]
        return [self._clause(before, start, end) for before, start in starts]

    def _clause(self, end_before: int, start: int, end: int) -> _Clause:
        """Skip greetings, times and requests, and find the rules that match after them."""
        plain, known = self._plain, self._known
        body, time = self._after_opener(start, end), ""
        places = [body]
        if timed := known["time"].match(plain, body, end):
            time = self._said.source(*timed.span()).strip(_EDGES)
            places.append(self._after_opener(timed.end(), end))
        if asked := known["request"].match(plain, places[-1], end):
            places.append(self._after_opener(asked.end(), end))
        rules = tuple(
            _Found(rule, match)
            for place in reversed(places)
            for rule in known.rules
            if (match := rule.pattern.match(plain, place, end))
        )
        return _Clause(end_before, start, body, time, rules)

    def _after_opener(self, start: int, end: int) -> int:
        opened = self._known["opener"].match(self._plain, start, end)
        return opened.end() if opened else start

    def _read(self, clause: _Clause, end: int, *but: Take) -> list[Statement]:
        """What the clause, which ends at `end`, states by the first rule with a value."""
        rules = (found for found in clause.rules if found.rule.take not in but)
        read = (self._by_rule(clause, found, end) for found in rules)
        return next(filter(None, read), [])

    def _by_rule(self, clause: _Clause, found: _Found, end: int) -> list[Statement]:
        rule = found.rule
        match rule.take:
            case "name" | "weak_name":
                return self._named(found, end, greeted=clause.body > clause.start)
            case "statement":
                return self._remembered(found.match.end(), end)
            case "relation":
                at = found.match.end()
                if not name_at(self._said, self._known, at, is_weak=True, greeted=False):
                    return []
            case "everything":
                return [Statement(kind=rule.kind, value="", everything=True)]
        value = self._value(clause, found, end)
        context = "" if rule.take == "value" else rule.value
        kind = self._style(value) if rule.kind == "tone" else rule.kind
        values = self._tasks(value, clause, found) if kind == "todo" else [value]
        return [Statement(kind=kind, value=each, context=context) for each in values if each]

    def _style(self, value: str) -> Kind:
        """Whether a wish about answers concerns their length, format or tone."""
        plain = wording(value, self._known.spelling).plain
        if self._known["length"].match(plain):
            return "length"
        return "format" if self._known["format"].match(plain) else "tone"

    def _value(self, clause: _Clause, found: _Found, end: int) -> str:
        rule, match = found.rule, found.match
        match rule.take:
            case "value":
                return rule.value
            case "group":
                value = self._said.source(*match.span(match.lastindex or 0))
            case "role" | "job":
                value = self._role(match.end(), end, is_job=rule.take == "job")
            case "clause" | "relation":
                value = self._said.source(clause.body, end)
            case _:
                value = self._said.source(match.end(), end)
        value = self._tidy(value)
        if rule.kind in ("done", "forget", "deny"):  # what follows the comma gives the reason
            value = value.partition(",")[0].strip()
        if rule.kind == "language":
            return self._known.tongues.get(fold(value), value)
        return value

    def _tasks(self, value: str, clause: _Clause, found: _Found) -> list[str]:
        """The tasks of a clause, as in `call Bob and buy milk`, each with the time before them."""
        said = wording(value, self._known.spelling)
        joints = [each.span() for each in self._known["next_task"].finditer(said.plain)]
        joints = [(start, end) for start, end in joints if " " in said.plain[:start]]
        starts = [0, *(end for _, end in joints)]
        ends = [*(start for start, _ in joints), len(said.plain)]
        inner = self._known["inner_time"].search(self._plain, *found.match.span())
        time = self._said.source(*inner.span()) if inner else clause.time
        time = f" {time[0].lower()}{time[1:]}" if time else ""
        spans = zip(starts, ends, strict=True)
        return [f"{said.source(*span)}{time}" for span in spans if said.plain]

    def _remembered(self, start: int, end: int) -> list[Statement]:
        """What is to be remembered: as a rule reads it, else as a fact in its own words."""
        inner = self._clause(start, start, len(self._plain))
        if self._known["to_you"].match(self._plain, inner.body):
            return []
        value = self._tidy(self._said.source(start, end))
        as_fact = [Statement(kind="fact", value=value)] if value else []
        return self._read(inner, end, "statement") or as_fact

    def _role(self, start: int, end: int, *, is_job: bool) -> str:
        """The name of a role; `is_job`: only one that is known as such."""
        plain, known = self._plain, self._known
        article = known["article"].match(plain, start)
        start = article.end() if article else start
        ended = known["role_end"].search(plain, start, end)
        end = ended.start() if ended else end
        if known["not_role"].match(plain, start) or (
            is_job and not known["job"].match(plain, start, end)
        ):
            return ""
        return self._said.source(start, end)

    def _named(self, found: _Found, end: int, *, greeted: bool) -> list[Statement]:
        """A name, and the department or the job that comes with it."""
        is_weak = found.rule.take == "weak_name"
        start = found.match.end()
        name = name_at(self._said, self._known, start, is_weak=is_weak, greeted=greeted)
        if name is None:
            return []
        if corrected := self._known["correction"].match(self._plain, name.end):
            at = corrected.end()
            name = name_at(self._said, self._known, at, is_weak=True, greeted=True) or name
        statements = [Statement(kind=found.rule.kind, value=name.text)]
        after = name.end
        if where := self._known["department"].match(self._plain, after, end):
            statements.append(Statement(kind="department", value=self._said.source(*where.span(1))))
            after = where.end()
        if apposed := self._known["apposition"].match(self._plain, after, end):
            role = self._tidy(self._role(apposed.end(), len(self._plain), is_job=True))
            statements += [Statement(kind="role", value=role)] if role else []
        if self._plain[after : after + 1] == " ":  # no comma, as in `im bob i live in York`
            following = self._clause(after, after + 1, end)
            statements += self._read(following, end, "name", "weak_name")
        return statements

    def _tidy(self, value: str) -> str:
        """Without courtesies at its end, and as it was corrected in the same breath."""
        said = wording(value, self._known.spelling)
        corrections = [each.end() for each in self._known["self_correction"].finditer(said.plain)]
        start = corrections[-1] if corrections else 0
        ended = self._known["courtesy"].search(said.plain, start)
        end = ended.start() if ended else len(said.plain)
        return said.source(start, end)[:MAX_VALUE_CHARS].strip(_EDGES)
