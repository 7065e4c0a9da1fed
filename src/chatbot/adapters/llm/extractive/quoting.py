"""Quotes a sentence with those that complete it, and a row with the names of its columns."""

from collections.abc import Sequence
from dataclasses import dataclass

from chatbot.adapters.llm.extractive.candidates import Candidate
from chatbot.adapters.llm.extractive.excerpts import Excerpt
from chatbot.adapters.llm.extractive.expected import expected_in, goes_on, is_persons_name
from chatbot.adapters.llm.extractive.matching import Matching

_BRACKETS = str.maketrans("[]", "()")
_MOST_CHARS, _MOST_AFTER, _LEAST_FOUND, _SHORT_ROW = 420, 2, 2, 3
_SENTENCE_ENDS = (".", "!", "?", "…")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """Sentences of a passage, and its number. Those before the `main` one are there to understand it."""

    n: int
    title: str
    sentences: tuple[str, ...]
    main: int = 0

    @property
    def line(self) -> str:
        """The sentences with their marks."""
        before, after = self.sentences[: self.main], self.sentences[self.main :]
        return " ".join([*map(_plain, before), *(_marked(each, self.n) for each in after)])


def _plain(text: str) -> str:
    return text.translate(_BRACKETS)


def _marked(text: str, n: int) -> str:
    text = _plain(text)
    end = text[-1:] if text.endswith(_SENTENCE_ENDS) else ""
    return f"{text.removesuffix(end)} [{n}]{end or '.'}"


def quoted(candidate: Candidate, matching: Matching) -> Quoted:
    """Quote a candidate, within some 400 characters."""
    if candidate.excerpt.cells:
        sentences: tuple[str, ...] = (_row(candidate, matching),)
        return Quoted(n=candidate.n, title=candidate.passage.title, sentences=sentences)
    excerpts = matching.excerpts[candidate.n]
    first = last = candidate.at
    paragraph = candidate.excerpt.paragraph

    def fits(at: int) -> bool:
        if not 0 <= at < len(excerpts) or excerpts[at].paragraph != paragraph:
            return False
        texts = excerpts[min(first, at) : max(last, at) + 1]
        return sum(len(each.text) + 1 for each in texts) <= _MOST_CHARS

    if goes_on(candidate.excerpt.text) and fits(first - 1):
        first -= 1
    while last - candidate.at < _MOST_AFTER and fits(last + 1):
        if not _completes(candidate, excerpts[last + 1], matching, is_first=last == candidate.at):
            break
        last += 1
    return Quoted(
        n=candidate.n,
        title=candidate.passage.title,
        sentences=tuple(each.text for each in excerpts[first : last + 1]),
        main=candidate.at - first,
    )


def _completes(
    candidate: Candidate, following: Excerpt, matching: Matching, *, is_first: bool
) -> bool:
    """Whether the sentence after a quoted one belongs to it."""
    if goes_on(following.text):
        return True
    if not is_first:
        return False
    if "sequel" in matching.question.asks or _is_entry(candidate, matching):
        return True
    if matching.is_asked_for(candidate.n, following.subject):
        return True
    here, there = (
        expected_in(each.text, matching.question) or 0.0 for each in (candidate.excerpt, following)
    )
    if here <= 0 < there:
        return True
    found = _main(candidate, matching, following.text)
    return len(found) >= _LEAST_FOUND and not found <= candidate.own.keys()


def _is_entry(candidate: Candidate, matching: Matching) -> bool:
    """Whether it begins a paragraph with what that is about, as in `Error 809: ...`."""
    before = matching.excerpts[candidate.n][candidate.at - 1] if candidate.at else None
    is_start = before is None or before.paragraph != candidate.excerpt.paragraph
    return is_start and bool(candidate.excerpt.subject)


def _row(candidate: Candidate, matching: Matching) -> str:
    """The row: of a long one, its first cell and what the question asks for."""
    cells = candidate.excerpt.cells
    kept = _asked_cells(candidate, matching) if len(cells) > _SHORT_ROW else cells
    return "; ".join(f"{name}: {value}" if name else value for name, value in kept)


def _asked_cells(candidate: Candidate, matching: Matching) -> Sequence[tuple[str, str]]:
    """The cells of the columns that the question names, or else of the values; all if neither answers."""
    cells, question = candidate.excerpt.cells, matching.question
    values = [_main(candidate, matching, value) for _, value in cells]
    in_values = frozenset[str]().union(*values)
    names = [_main(candidate, matching, name) - in_values for name, _ in cells]
    if question.is_follow_up and any(not name.isdisjoint(question.own) for name in names):
        names = [name & set(question.own) for name in names]
    is_named = [bool(name) and not any(name < other for other in names) for name in names]
    if "person" in question.asks:
        is_named = [
            named or is_persons_name(value)
            for named, (_, value) in zip(is_named, cells, strict=True)
        ]
    rows = zip(cells, is_named, values, strict=True)
    kept = [cell for at, (cell, named, found) in enumerate(rows) if named or found or not at]
    if any(is_named[1:]):
        return kept
    others = " ".join(value for _, value in kept[1:])
    is_choice = question.is_choice and "figure" not in question.asks
    is_answer = (expected_in(others, question) or 0.0) > 0 or is_choice
    return kept if others and is_answer else cells


def _main(candidate: Candidate, matching: Matching, text: str) -> frozenset[str]:
    """The words of the question in a text, without the light ones."""
    found = matching.words_found(candidate.n, text)
    return frozenset(word for word in found if word in matching.question.main_words)
