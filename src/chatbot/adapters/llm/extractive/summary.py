"""Without a model: the sentences of a conversation that matter most, or that answer a question."""

import re
from collections.abc import Sequence

from chatbot.adapters.llm.extractive.language import CODES, language
from chatbot.adapters.llm.extractive.learning import stems
from chatbot.adapters.llm.extractive.statements import (
    is_courtesy,
    is_question,
    own_sentences,
    stated,
)

_SENTENCE_WORDS = 40
_MAX_SENTENCES = 400
_BEST_SENTENCES = 3


def summarized(previous: str, texts: Sequence[str], max_words: int) -> str:
    """As many sentences as fit: statements of users about themselves first, then the newest."""
    found = sentences(previous, *texts)[-_MAX_SENTENCES:]
    ranks = {each: (bool(stated(each)), number) for number, each in enumerate(found)}
    kept: set[str] = set()
    room = max_words
    for each in sorted(found, key=ranks.__getitem__, reverse=True):
        if (words := len(each.split())) <= room:
            kept.add(each)
            room -= words
    return (
        " ".join(each[0].upper() + each[1:] for each in found if each in kept)
        or "…"[: max(0, max_words)]
    )


def sentences(*texts: str) -> list[str]:
    """The distinct sentences with content, cut after 40 words; no questions or courtesies."""
    own = (each for text in texts for each in own_sentences(text, map(language, CODES)))
    cut = (" ".join(each.split()[:_SENTENCE_WORDS]) for each in own)
    found = (each for each in cut if stems(each) and not (is_question(each) or is_courtesy(each)))
    return list(dict.fromkeys(re.sub(r"[.\s]*$", ".", each, count=1) for each in found))


def relevant(
    prompt: str,
    texts: Sequence[str],
    wanted: frozenset[str] | None = None,
    *,
    but_statements: bool = False,
) -> list[str]:
    """At most three sentences that share at least half of the wanted words, the best first.

    These are those of the prompt unless given.

    `but_statements` leaves out what users state about themselves: if memory lacks it, it was
    forgotten.
    """
    wanted = stems(prompt) if wanted is None else wanted
    shared = {each: 2 * len(wanted & stems(each)) for each in sentences(*texts)}
    best = sorted(shared, key=lambda each: -shared[each])[:_BEST_SENTENCES]
    enough = [each for each in best if shared[each] >= max(len(wanted), 1)]
    return [each.rstrip(".") for each in enough if not (but_statements and stated(each))]
