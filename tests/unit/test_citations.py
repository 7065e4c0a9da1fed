"""Citations: the passage that a mark names, with the sentence that the answer rests on."""

import pytest

from chatbot.application.citations import MAX_QUOTE_CHARS, Citing, citation_of
from chatbot.domain.answer_details import Citation
from chatbot.domain.recall import RecalledPassage

TEXT = (
    "Everybody has 23 days of holidays. Managers hand in their plan before 1 March. "
    "Nothing else changes."
)


def passage(text: str = TEXT, *, start: int = 100, document_id: str = "d1") -> RecalledPassage:
    return RecalledPassage(
        document_id=document_id,
        version=2,
        seq=1,
        title="Holidays",
        heading="Rules",
        text=text,
        start=start,
        end=start + len(text),
        rank=1,
    )


def said(answer: str, *passages: RecalledPassage) -> list[str | Citation]:
    citing = Citing(passages)
    return [*citing.feed(answer), *citing.end()]


def test_citation_quotes_the_sentence_that_the_answer_rests_on() -> None:
    found = citation_of(1, passage(), "The managers' plan is due before 1 March")
    assert found.quote == "Managers hand in their plan before 1 March."
    assert TEXT[found.start - 100 : found.end - 100] == found.quote
    assert (found.document_id, found.version, found.title) == ("d1", 2, "Holidays")


def test_claim_without_a_common_word_quotes_the_first_sentence() -> None:
    assert citation_of(1, passage(), "").quote == "Everybody has 23 days of holidays."


@pytest.mark.parametrize("text", ["", " ", "x" * 5000, "no end\nof a sentence", "1. 2. 3."])
def test_quote_is_a_part_of_the_passage_whatever_its_text(text: str) -> None:
    found = citation_of(1, passage(text, start=0), "sentence")
    assert text[found.start : found.end] == found.quote
    assert len(found.quote) <= MAX_QUOTE_CHARS


def test_citation_follows_the_first_mark_of_its_passage() -> None:
    found = said("Plans by March [1]. Days: 23 [2]. See [1].", passage(), passage(document_id="d2"))
    kinds = [each if isinstance(each, str) else each.n for each in found]
    assert kinds == ["Plans by March [1]", 1, ". Days: 23 [2]", 2, ". See [1]", "."]


def test_each_claim_is_compared_with_its_own_sentence_only() -> None:
    found = said("Plans are due in March [1]. Everybody has 23 days [2].", passage(), passage())
    quotes = [each.quote for each in found if isinstance(each, Citation)]
    assert quotes == [
        "Managers hand in their plan before 1 March.",
        "Everybody has 23 days of holidays.",
    ]


def test_answer_is_left_alone_when_no_documents_were_searched() -> None:
    citing = Citing(None)
    assert [*citing.feed("a [1] "), *citing.feed("b["), *citing.end()] == ["a [1] ", "b["]
    assert citing.citations == []
