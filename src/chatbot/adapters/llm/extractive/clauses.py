"""What a sentence states, clause by clause, by the rules of a language."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from chatbot.adapters.llm.extractive.language import Kind, Language, Rule
from chatbot.adapters.llm.extractive.names import Name, name_at
from chatbot.adapters.llm.extractive.wording import Wording, wording
from chatbot.domain.memory import MAX_VALUE_CHARS
from chatbot.domain.text import fold

_MAX_CLAUSES = 24
_HEAD_WORDS = 4  # a job is named in the first words, as in `the new senior nurse`
_EDGES = " ,.;:!?¡¿()\u2026-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One thing that a person said: what kind it is, and its value in their own words.

    `context` are the words that make a sentence of the value, as `i am a` before what somebody
    no longer is. With `everything` the whole memory is to be forgotten.
    """

    kind: Kind
    value: str
    context: str = ""
    everything: bool = False


class _Found(NamedTuple):
    """A rule that may hold, and where it matched."""

    rule: Rule
    match: re.Match[str]


class _Clause(NamedTuple):
    """A clause: where the one before it ends, where it starts, and its body, behind greetings."""

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
        """What the clauses state, last to first, since one ends where another begins."""
        end = 0 if self._known.doubt.search(self._plain) else self._asserted()
        found: list[Statement] = []
        for clause in reversed(self._clauses(end) if end else []):
            if statements := self._read(clause, end):
                found = [*statements, *found]
            if statements or self._known.aside.match(self._plain, clause.body):
                end = clause.end_before
        return found

    def _asserted(self) -> int:
        """How far it is no question; a request, though it may ask, counts to its end."""
        plain, known = self._plain, self._known
        start = self._after_opener(0, len(plain))
        if known.request.match(plain, start):
            return len(plain)
        if known.question.match(plain, start):
            return 0
        if not plain.rstrip().endswith("?"):
            return len(plain)
        mark = self._said.written.find("¿")
        cut = next((i for i, at in enumerate(self._said.starts) if at > mark), 0) if mark > 0 else 0
        cut = cut or plain.rfind(",") + 1
        tail = plain[cut:].strip()
        if cut and not known.tag.match(tail) and (mark > 0 or known.question.match(tail)):
            return len(plain[:cut].rstrip(" ,"))
        return 0

    def _clauses(self, end: int) -> list[_Clause]:
        found = self._known.boundary.finditer(self._plain, 0, end)
        starts = [(0, 0), *(each.span() for each in found)][:_MAX_CLAUSES]
        return [self._clause(before, start, end) for before, start in starts]

    def _clause(self, end_before: int, start: int, end: int) -> _Clause:
        """Step over greetings, times and requests, and find the rules that may hold then."""
        plain, known = self._plain, self._known
        body, time = self._after_opener(start, end), ""
        places = [body]
        if timed := known.time.match(plain, body, end):
            time = self._said.source(*timed.span()).strip(_EDGES)
            places.append(self._after_opener(timed.end(), end))
        if asked := known.request.match(plain, places[-1], end):
            places.append(self._after_opener(asked.end(), end))
        rules = tuple(
            _Found(rule, match)
            for place in reversed(places)
            for rule in known.rules
            if (match := rule.pattern.match(plain, place, end))
        )
        return _Clause(end_before, start, body, time, rules)

    def _after_opener(self, start: int, end: int) -> int:
        opened = self._known.opener.match(self._plain, start, end)
        return opened.end() if opened else start

    def _read(self, clause: _Clause, end: int) -> list[Statement]:
        """What the clause, which goes as far as `end`, states by the first rule with a value."""
        for found in clause.rules:
            if statements := self._by_rule(clause, found, end):
                return statements
        return self._corrected_name(clause)

    def _by_rule(self, clause: _Clause, found: _Found, end: int) -> list[Statement]:
        rule = found.rule
        match rule.take:
            case "name" | "weak_name":
                return self._named(found, end, greeted=clause.body > clause.start)
            case "statement":
                return self._told(found.match.end(), end)
            case "relation":
                at = found.match.end()
                if not name_at(self._said, self._known, at, is_weak=True, greeted=False):
                    return []
            case "everything":
                return [Statement(kind=rule.kind, value="", everything=True)]
        value = self._value(clause, found, end)
        context = "" if rule.take == "value" else rule.value
        kind = self._style(value) if rule.kind == "tone" else rule.kind
        values = self._tasks(value) if kind == "todo" else [value]
        if kind == "todo":
            values = [self._with_time(task, clause, found.match) for task in values]
        return [Statement(kind=kind, value=each, context=context) for each in values if each]

    def _style(self, value: str) -> Kind:
        """How somebody wants to be answered: in which length, format or tone."""
        plain = wording(value, self._known.spelling).plain
        if self._known.length.match(plain):
            return "length"
        return "format" if self._known.format.match(plain) else "tone"

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

    def _tasks(self, value: str) -> list[str]:
        """Several tasks in one clause, as in `call Bob and buy milk`; the first has an object, too."""
        said = wording(value, self._known.spelling)
        cuts = [cut.span() for cut in self._known.next_task.finditer(said.plain)]
        cuts = [(end, start) for end, start in cuts if " " in said.plain[:end]]
        starts = [0, *(start for _, start in cuts)]
        ends = [*(end for end, _ in cuts), len(said.plain)]
        return [said.source(*span) for span in zip(starts, ends, strict=True)]

    def _with_time(self, task: str, clause: _Clause, match: re.Match[str]) -> str:
        """The task, and behind it the time that was said before it."""
        inner = self._known.inner_time.search(self._plain, match.start(), match.end())
        time = self._said.source(*inner.span()) if inner else clause.time
        return f"{task} {time[0].lower()}{time[1:]}" if time else task

    def _told(self, start: int, end: int) -> list[Statement]:
        """What is to be remembered: as a rule reads it, else as a fact in its own words."""
        inner = self._clause(start, start, len(self._plain))
        if self._known.to_you.match(self._plain, inner.body):
            return []
        direct = (each for each in inner.rules if each.rule.take != "statement")
        read = (self._by_rule(inner, each, end) for each in direct)
        value = self._tidy(self._said.source(start, end))
        as_fact = [Statement(kind="fact", value=value)] if value else []
        return next(filter(None, read), as_fact)

    def _role(self, start: int, end: int, *, is_job: bool) -> str:
        """The name of a role; `is_job`: only one that is known as such."""
        plain, known = self._plain, self._known
        article = known.article.match(plain, start)
        start = article.end() if article else start
        ended = known.role_end.search(plain, start, end)
        end = ended.start() if ended else end
        is_known = any(known.job.match(plain, at, end) for at in self._head_of(start, end))
        if known.not_role.match(plain, start) or (is_job and not is_known):
            return ""
        return self._said.source(start, end)

    def _head_of(self, start: int, end: int) -> list[int]:
        """Where the first words begin, up to the first that is a mere `of`, `in` or the like."""
        found: list[int] = []
        for word in re.finditer(r"\S+", self._plain[start:end]):
            if found and (word[0] in self._known.stop or len(found) == _HEAD_WORDS):
                break
            found.append(start + word.start())
        return found

    def _named(self, found: _Found, end: int, *, greeted: bool) -> list[Statement]:
        """A name, and the department or the job that comes with it."""
        is_weak = found.rule.take == "weak_name"
        start = found.match.end()
        name = name_at(self._said, self._known, start, is_weak=is_weak, greeted=greeted)
        if name is None:
            return []
        name = self._correction_of(name) or name
        statements = [Statement(kind=found.rule.kind, value=name.text)]
        after = name.end
        if where := self._known.department.match(self._plain, after, end):
            statements.append(Statement(kind="department", value=self._said.source(*where.span(1))))
            after = where.end()
        if apposed := self._known.apposition.match(self._plain, after, end):
            role = self._tidy(self._role(apposed.end(), len(self._plain), is_job=True))
            statements += [Statement(kind="role", value=role)] if role else []
        return statements + self._after_name(after, end)

    def _after_name(self, start: int, end: int) -> list[Statement]:
        """What follows a name without a comma, as in `im bob i live in York`."""
        if self._plain[start : start + 1] != " ":
            return []
        clause = self._clause(start, start + 1, end)
        rules = [each for each in clause.rules if each.rule.take not in ("name", "weak_name")]
        read = (self._by_rule(clause, each, end) for each in rules)
        return next(filter(None, read), [])

    def _correction_of(self, name: Name) -> Name | None:
        corrected = self._known.correction.match(self._plain, name.end)
        if corrected is None:
            return None
        return name_at(self._said, self._known, corrected.end(), is_weak=True, greeted=True)

    def _corrected_name(self, clause: _Clause) -> list[Statement]:
        """`Ana, sorry, Anna` without any introduction."""
        if clause.start:
            return []
        first = name_at(self._said, self._known, clause.body, is_weak=True, greeted=False)
        second = self._correction_of(first) if first else None
        if second is None or self._plain[second.end :].strip(_EDGES):
            return []
        return [Statement(kind="name", value=second.text)]

    def _tidy(self, value: str) -> str:
        """Without courtesies at its end, and as it was corrected in the same breath."""
        said = wording(value, self._known.spelling)
        corrections = [each.end() for each in self._known.self_correction.finditer(said.plain)]
        start = corrections[-1] if corrections else 0
        ended = self._known.courtesy.search(said.plain, start)
        end = ended.start() if ended else len(said.plain)
        return said.source(start, end)[:MAX_VALUE_CHARS].strip(_EDGES)
