"""Puts what documents say into words."""

from collections.abc import Sequence

from chatbot.adapters.llm.extractive.candidates import Passage
from chatbot.adapters.llm.extractive.language import Language
from chatbot.adapters.llm.extractive.passages import found_answer, newer_titles, titles_about

_FEW_WORDS = 4


def quoted_reply(
    prompt: str,
    earlier: Sequence[str],
    passages: Sequence[Passage],
    known: Language,
    *,
    is_question: bool,
) -> str:
    """Return the quotes that answer, or nothing.

    A question may be answered by the documents between which it cannot be decided.
    """
    found = found_answer(prompt, earlier, passages)
    if found.undecided and is_question:
        return known.phrases["undecided"].format(items=_listed(found.undecided))
    if len(found.quotes) > 1:
        lines = [f"{each.title}: {each.line}" for each in found.quotes]
        return known.phrases["several"].format(items=_listed(lines))
    line = "".join(each.line for each in found.quotes)
    newer = newer_titles([each.title for each in found.quotes], passages, prompt)
    note = known.phrases["newer"].format(items=_listed(newer)) if newer else ""
    return "\n\n".join(filter(None, [line, note]))


def mentions_reply(prompt: str, passages: Sequence[Passage], known: Language) -> str:
    """Return which documents mention a few words, such as `travel expenses`; or nothing."""
    if len(prompt.split()) > _FEW_WORDS:
        return ""
    titles = titles_about(prompt, passages)
    return known.phrases["mentioned"].format(items=_listed(titles)) if titles else ""


def _listed(texts: Sequence[str]) -> str:
    return "".join(f"\n- {text}" for text in texts)
