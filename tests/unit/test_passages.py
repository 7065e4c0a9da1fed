"""Splitting texts into passages."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.domain.extraction import SECTION_SEPARATOR, FailureReason
from chatbot.domain.passages import LONGEST, DocumentPassage, Section, split
from chatbot.domain.ports.extraction import ExtractionFailed

SENTENCE = "Los empleados tienen veintitrés días de vacaciones al año. "
PIECES = st.sampled_from(
    [
        SENTENCE,
        "¿Y los gerentes? ",
        "a | b\n",
        "- uno\n",
        "\n\n",
        "x" * 700,
        " ",
        "Sr. ",
        "\u0661 ",
        "。",
    ]
)


def sections_of(*texts: str, heading: str = "") -> list[Section]:
    sections, start = [], 0
    for text in texts:
        sections.append(Section(heading=heading, text=text, start=start))
        start += len(text) + len(SECTION_SEPARATOR)
    return sections


def passages_of(*texts: str) -> list[DocumentPassage]:
    return list(split(sections_of(*texts)))


def texts_of(text: str) -> list[str]:
    return [passage.text for passage in passages_of(text)]


@given(st.lists(st.lists(PIECES | st.text(), max_size=60).map("".join), max_size=3))
def test_passages_cover_the_text_in_order_with_exact_offsets(texts: list[str]) -> None:
    whole = SECTION_SEPARATOR.join(texts)
    position = 0
    for passage in passages_of(*texts):
        assert whole[passage.start : passage.end] == passage.text
        assert whole[position : passage.start].strip() == ""
        assert passage.text == passage.text.strip() != ""
        assert len(passage.text) <= LONGEST
        position = passage.end
    assert whole[position:].strip() == ""


def test_passages_of_a_long_text_have_800_to_1200_characters_and_end_with_a_sentence() -> None:
    passages = texts_of(SENTENCE * 200)
    assert all(800 <= len(text) <= LONGEST and text.endswith("año.") for text in passages)


def test_a_text_that_is_slightly_too_long_is_split_in_the_middle() -> None:
    assert [len(text) > 600 for text in texts_of(SENTENCE * 24)] == [True, True]


def test_a_short_section_is_one_passage_under_its_heading() -> None:
    (passage,) = split(sections_of("One.\n\nTwo.", heading="Holidays > Carry-over"))
    assert (passage.heading, passage.text) == ("Holidays > Carry-over", "One.\n\nTwo.")


def test_a_passage_never_extends_over_two_sections() -> None:
    assert [passage.text for passage in passages_of("One.", "", "Two.")] == ["One.", "Two."]


@pytest.mark.parametrize(
    "row", ["{0} | Ana Núñez | 2.500 €", "- Paso {0}. Abrir. Cerrar.", "{0}.\tUno."]
)
def test_a_table_or_list_that_fits_one_passage_is_not_torn(row: str) -> None:
    table = "\n".join(row.format(number) for number in range(1, 25))
    assert any(table in text for text in texts_of(f"{SENTENCE * 11}\n\n{table}\n\n{SENTENCE * 11}"))


def test_a_long_table_is_split_between_rows() -> None:
    rows = [f"{number} | Ana Núñez. Ventas | 2.500 €" for number in range(1, 200)]
    assert "\n".join(texts_of("\n".join(rows))).split("\n") == rows
    assert len(texts_of("\n".join(rows))) > 1


@pytest.mark.parametrize(
    "unfinished",
    ["Lo dijo el Sr. ", "Según el art. ", "It was J. ", "See fig. ", "Costs 3.5 ", "Wait... and "],
)
def test_an_abbreviation_does_not_end_a_sentence(unfinished: str) -> None:
    text = (unfinished + "Name is long enough to fill this line of the text and more. ") * 40
    assert all(passage.endswith("more.") for passage in texts_of(text))


def test_sentences_of_other_scripts_end_passages() -> None:
    for sentence in ("هل هذه سياسة الإجازات؟ ", "これは会社の規則です。"):
        assert all(text.endswith(sentence.strip()[-1]) for text in texts_of(sentence * 200))


def test_a_sentence_without_an_end_is_cut_between_words() -> None:
    passages = texts_of("palabras " * 1000)
    assert all(set(text.split()) == {"palabras"} for text in passages)


def test_a_word_without_an_end_is_cut_at_the_limit() -> None:
    assert [len(text) for text in texts_of("x" * 2500)] == [LONGEST, LONGEST, 100]


@pytest.mark.parametrize("hostile", [" \n", ". ", "a|", "\n \n", ".)", "1. ", "\t", "| | \n", "(."])
def test_a_megabyte_of_hostile_text_takes_seconds_at_most(hostile: str) -> None:
    started = time.process_time()
    passages_of(hostile * (1_000_000 // len(hostile)))
    assert time.process_time() - started < 8


def test_every_reason_is_a_plain_sentence() -> None:
    for reason in FailureReason:
        sentence = str(ExtractionFailed(reason))
        assert sentence[0].isupper()
        assert sentence.endswith(".")
