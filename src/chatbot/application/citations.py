"""The citations of an answer: the passages that it cites, and the words of each that support it."""

import re
from collections.abc import Iterator, Sequence

from chatbot.application.marks import Marks
from chatbot.domain.answer_details import Citation
from chatbot.domain.recall import RecalledPassage
from chatbot.domain.text import fold

MAX_QUOTE_CHARS = 300
_SENTENCE = re.compile(r"[^.!?…\n]*(?:[.!?…]+(?=\s|\Z)|\n|[.!?…]|\Z)")
_WORD = re.compile(r"\w{3,}")
_CLAIM_CHARS = 300


class Citing:
    """Parses an answer as it arrives, and yields its text, and a citation after its first mark.

    Without passages (None), none were searched, and brackets are ordinary text.
    """

    def __init__(self, passages: Sequence[RecalledPassage] | None) -> None:
        self._passages = dict(enumerate(passages or (), start=1))
        self._marks = None if passages is None else Marks(self._passages)
        self._said = ""
        self.citations: list[Citation] = []

    def feed(self, piece: str) -> Iterator[str | Citation]:
        """Add a piece of the answer, and yield the part that can no longer change."""
        if self._marks is None:
            return iter((piece,))
        return self._cited(self._marks.feed(piece))

    def end(self) -> Iterator[str | Citation]:
        """Yield the rest."""
        return iter(()) if self._marks is None else self._cited(self._marks.end())

    def _cited(self, found: Iterator[str | int]) -> Iterator[str | Citation]:
        for each in found:
            if isinstance(each, str):
                self._said = (self._said + each)[-_CLAIM_CHARS:]
                yield each
            elif each not in {citation.n for citation in self.citations}:
                citation = citation_of(each, self._passages[each], _last_sentence(self._said))
                self.citations.append(citation)
                yield citation


def citation_of(n: int, passage: RecalledPassage, claim: str) -> Citation:
    """Return the citation of a passage: the sentence that shares most words with the claim.

    `start` and `end` are those of the sentence.
    """
    wanted = _words(claim)
    spans = [(found.start(), found.end()) for found in _SENTENCE.finditer(passage.text)]
    texts = [(start, passage.text[start:end]) for start, end in spans if start < end]
    best = max(texts, key=lambda each: len(wanted & _words(each[1])), default=(0, passage.text))
    start = best[0] + len(best[1]) - len(best[1].lstrip())
    quote = best[1].strip()[:MAX_QUOTE_CHARS].rstrip()
    return Citation(
        n=n,
        document_id=passage.document_id,
        version=passage.version,
        seq=passage.seq,
        title=passage.title,
        heading=passage.heading,
        start=passage.start + start,
        end=passage.start + start + len(quote),
        quote=quote,
    )


def _last_sentence(text: str) -> str:
    found = [each for each in _SENTENCE.findall(text) if _words(each)]
    return found[-1] if found else ""


def _words(text: str) -> set[str]:
    return set(_WORD.findall(fold(text)))
