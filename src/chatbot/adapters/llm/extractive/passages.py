"""Answers a question from passages of documents: by their best sentence, or by what its versions say."""

from collections.abc import Sequence
from dataclasses import dataclass

from chatbot.adapters.llm.extractive.asked import Question, questions_of
from chatbot.adapters.llm.extractive.candidates import Candidate, Passage, Scored
from chatbot.adapters.llm.extractive.matching import Matching
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
_CLEARLY, _BY_SUBJECT, _BY_ONE_WORD, _SAME_DOCUMENT = 1.15, 1.08, 1.6, 1.1
"""How much better than others the best sentence is; if only that begins with what is asked for; and for a
question with one main word, which any document may have.
"""
_ALIKE, _AS_GOOD = 0.6, 0.9
"""Which share of their words two sentences have in common, and how good the second one is."""
_NEWER, _OLDER = 0.4, 0.6
"""How good the best sentence of the same section of a newer version is, or of an older one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAnswer:
    """What documents say: quotes, several if they differ; or the titles of what cannot be decided."""

    quotes: Sequence[Quoted] = ()
    undecided: Sequence[str] = ()


def found_answer(prompt: str, earlier: Sequence[str], passages: Sequence[Passage]) -> FoundAnswer:
    """Return the sentence that answers, if it covers enough of the question and is clearly the best.

    What another version of the document says is returned, too, unless the question says which one it
    means. `earlier` are the person's messages before, the newest first, which a follow-up goes on with.
    """
    found = FoundAnswer()
    for question in questions_of(prompt, earlier):
        found = _answer(Matching(question, passages))
        if found.quotes:
            break
    return found


def titles_about(prompt: str, passages: Sequence[Passage]) -> Sequence[str]:
    """Return the titles of the documents that have all main words of a prompt."""
    question = questions_of(prompt)[0]
    matching = Matching(question, passages)
    wanted = set(question.main_words)
    found = (
        each.title
        for each in passages
        if wanted <= matching.words_found(each.n, f"{each.above} {each.text}").keys()
    )
    return [title for title in dict.fromkeys(found) if title and wanted]


def newer_titles(quoted: Sequence[str], passages: Sequence[Passage], prompt: str) -> Sequence[str]:
    """Return newer versions of quoted documents, unless the prompt names the year of the quoted one."""
    return sorted(
        {
            each.title
            for title in quoted
            for each in passages
            if are_versions(title, each.title)
            and max(years_in(each.title)) > max(years_in(title))
            and years_in(title).isdisjoint(years_in(prompt))
        }
    )


def _answer(matching: Matching) -> FoundAnswer:
    scored = matching.scored()
    if not scored:
        return FoundAnswer()
    best = max(scored, key=lambda each: each.score)
    if not _is_enough(best, matching):
        return FoundAnswer()
    chosen, rival = _chosen(best, scored, matching.question)
    if rival:
        titles = dict.fromkeys(each.candidate.passage.title for each in (best, rival))
        return FoundAnswer(undecided=[title for title in titles if title])
    quotes = [quoted(each.candidate, matching) for each in _newest_first(chosen)]
    return FoundAnswer(quotes=[*{each.sentences: each for each in reversed(quotes)}.values()][::-1])


def _is_enough(best: Scored, matching: Matching) -> bool:
    question, found = matching.question, best.candidate.found
    main = [word for word in question.main_words if found.get(word, 0.0) >= _FOUND]
    if all(word.isdigit() for word in main):
        return False
    if question.is_follow_up and not _has_all_new(best, matching):
        return False
    return best.covered >= _NEEDED[min(len(main) + best.is_subject, max(_NEEDED))]


def _has_all_new(best: Scored, matching: Matching) -> bool:
    """Whether all words of a follow-up are found: those of the question before say too little."""
    question = matching.question
    decided = (
        question.years if not matching.amounts else frozenset(filter(str.isdigit, question.own))
    )
    return (bool(question.own) or not question.asks.isdisjoint({"now", "past"})) and all(
        word in best.candidate.found or word in decided for word in question.own
    )


def _chosen(
    best: Scored, scored: Sequence[Scored], question: Question
) -> tuple[Sequence[Scored], Scored | None]:
    """The best sentence and what contradicts or repeats it; and another that is about as good."""
    by_one_word = len(question.main_words) == 1
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
        else:
            by_subject = _BY_SUBJECT if best.is_subject > each.is_subject else _CLEARLY
            if each.candidate.passage.title == best.candidate.passage.title:
                lead = _SAME_DOCUMENT
            else:
                lead = _BY_ONE_WORD if by_one_word else by_subject
            if each.score * lead > best.score:
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
