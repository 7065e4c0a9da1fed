"""Answers a question from passages of documents: by their best sentence, or by what its versions say."""

from collections.abc import Sequence
from dataclasses import dataclass

from chatbot.adapters.llm.extractive.asked import question_of
from chatbot.adapters.llm.extractive.matching import Candidate, Matching, Passage, Scored
from chatbot.adapters.llm.extractive.quoting import Quoted, quoted
from chatbot.adapters.llm.extractive.stems import words_in
from chatbot.adapters.llm.extractive.versions import are_versions, years_in
from chatbot.domain.extraction import HEADING_SEPARATOR

_NEEDED = {1: 0.9, 2: 0.67, 3: 0.5, 4: 0.45}
"""Which share of a question is covered where so many of its words are: few words are weak evidence.

Chosen by the questions of bench/data/documents_questions.toml, and by the same without the documents
that answer them. bench/data/unseen_questions.toml had no part in it.
"""
_FOUND = 0.6
"""How well a word is found that counts: in the sentence, or above it."""
_CLEARLY, _BY_SUBJECT = 1.15, 1.08
"""How much better than others the best sentence is, or if only that begins with what is asked for."""
_ALIKE, _AS_GOOD = 0.6, 0.9
"""Which share of their words two sentences have in common, and how good the second one is."""
_NEWER, _OLDER = 0.4, 0.6
"""How good the best sentence of the same section of a newer version is, or of an older one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAnswer:
    """What documents say: quotes, several if they differ; or the titles of what cannot be decided."""

    quotes: Sequence[Quoted] = ()
    undecided: Sequence[str] = ()


def found_answer(prompt: str, previous: str, passages: Sequence[Passage]) -> FoundAnswer:
    """Return the sentence that answers, if it covers enough of the question and is clearly the best.

    What another version of the document says is returned, too, unless the question says which one it
    means. `previous` is the question before: its words count half where the prompt has few of its own.
    """
    question = question_of(prompt, previous)
    matching = Matching(question, passages)
    scored = matching.scored()
    if not scored:
        return FoundAnswer()
    best = max(scored, key=lambda each: each.score)
    if not _is_enough(best, matching):
        return FoundAnswer()
    chosen, rival = _chosen(best, scored)
    if rival:
        titles = dict.fromkeys(each.candidate.passage.title for each in (best, rival))
        return FoundAnswer(undecided=[title for title in titles if title])
    quotes = [quoted(each.candidate, matching) for each in _newest_first(chosen)]
    return FoundAnswer(quotes=[*{each.sentences: each for each in reversed(quotes)}.values()][::-1])


def _is_enough(best: Scored, matching: Matching) -> bool:
    own = matching.question.main_words
    found = [word for word in own if best.candidate.found.get(word, 0.0) >= _FOUND]
    if all(word.isdigit() for word in found):
        return False
    count = len(found) + best.is_subject
    return best.covered >= _NEEDED[min(count, max(_NEEDED))]


def _chosen(best: Scored, scored: Sequence[Scored]) -> tuple[Sequence[Scored], Scored | None]:
    """The best sentence and what contradicts or repeats it; and another that is about as good."""
    chosen = {best.candidate.n: best}
    for each in sorted(scored, key=lambda each: -each.score):
        if each.candidate.n in chosen:
            continue
        if _is_alike(best.candidate, each.candidate):
            if each.score >= _AS_GOOD * best.score:
                chosen[each.candidate.n] = each
        elif _is_same_section(best.candidate, each.candidate):
            least = _NEWER if _year(each) > _year(best) else _OLDER
            if not each.is_other_year and each.score >= least * best.score:
                chosen[each.candidate.n] = each
        elif (
            each.score * (_BY_SUBJECT if best.is_subject > each.is_subject else _CLEARLY)
            > best.score
        ):
            return [], each
    return [*chosen.values()], None


def _is_alike(one: Candidate, other: Candidate) -> bool:
    """Whether most of their words are the same."""
    mine, others = set(one.stems), set(other.stems)
    return len(mine & others) >= _ALIKE * max(len(mine), len(others))


def _is_same_section(one: Candidate, other: Candidate) -> bool:
    """Whether they are from sections with similar headings of two versions of a document."""
    if not are_versions(one.passage.title, other.passage.title):
        return False
    if years_in(one.passage.title) == years_in(other.passage.title):
        return False
    mine, others = (_last_heading(each.passage) for each in (one, other))
    return not mine.isdisjoint(others) or mine == others


def _last_heading(passage: Passage) -> set[str]:
    return {*words_in(passage.heading.rpartition(HEADING_SEPARATOR)[2])}


def _newest_first(chosen: Sequence[Scored]) -> Sequence[Scored]:
    """The version with the latest year in its title comes first."""
    return sorted(chosen, key=_year, reverse=True)


def _year(each: Scored) -> str:
    return max(years_in(each.candidate.passage.title), default="")
