"""Extraction from PDF files; needs the extra `documents`."""

import pytest

from chatbot.adapters.extraction.page_texts import joined, parted
from chatbot.domain.extraction import FailureReason
from extracting import failure, read, text_of
from pdf_files import Pdf, encrypted_pdf, pdf, scanned_pdf


def test_pdf_has_a_section_for_each_page_below_its_bookmarks() -> None:
    raw = pdf(
        ["Vacaciones: 23 días.", "", "Año (nuevo)\nsegunda línea."],
        title="Normas",
        bookmarks=[(0, "Capítulo uno"), (2, "Dos")],
    )
    assert read("a.pdf", raw) == (
        "Normas",
        [
            ("Capítulo uno > p. 1", "Vacaciones: 23 días."),
            ("Dos > p. 3", "Año (nuevo)\nsegunda línea."),
        ],
    )


def test_a_word_that_is_hyphenated_at_the_end_of_a_line_is_one_word() -> None:
    assert text_of("a.pdf", pdf(["Las vaca-\nciones."])) == "Las vacaciones."


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (scanned_pdf(), FailureReason.SCANNED),
        (encrypted_pdf(), FailureReason.ENCRYPTED),
        (b"%PDF-1.7\n" + b"x" * 2000, FailureReason.DAMAGED),
        (pdf(["text"])[:300], FailureReason.DAMAGED),
    ],
)
def test_a_pdf_without_readable_text_says_why(raw: bytes, expected: FailureReason) -> None:
    assert failure("a.pdf", raw) is expected


def test_more_pages_than_2000_are_too_many() -> None:
    file = Pdf()
    tree = file.add(b"")
    kids = [file.add(b"<< /Type /Page /Parent %d 0 R >>" % tree) for _ in range(2001)]
    names = b" ".join(b"%d 0 R" % kid for kid in kids)
    file.set(tree, b"<< /Type /Pages /Kids [%s] /Count %d >>" % (names, len(kids)))
    raw = file.written(root=file.add(b"<< /Type /Catalog /Pages %d 0 R >>" % tree))
    assert failure("a.pdf", raw) is FailureReason.TOO_MANY_PAGES


def test_a_page_is_parted_where_the_titles_of_its_bookmarks_are() -> None:
    page = "End of before.\n1. Holidays\n23 days.\nCarry-over\nUntil March.\n1.2 Sick\nleave"
    marks = [(0, "Holidays"), (1, "1.1 Carry-over"), (0, "Nowhere"), (0, "Sick")]
    assert list(parted(page, marks)) == [
        ([], "End of before."),
        ([(0, "Holidays")], "23 days."),
        ([(1, "1.1 Carry-over"), (0, "Nowhere")], "Until March."),
        ([(0, "Sick")], "leave"),
    ]
    assert list(parted("Text.", [(0, "Nowhere")])) == [([(0, "Nowhere")], "Text.")]


def test_bookmarks_without_a_text_are_no_text() -> None:
    raw = pdf(["One.\nB\nTwo."], bookmarks=[(0, "A"), (0, "B"), (0, "C")])
    assert read("a.pdf", raw)[1] == [("A > p. 1", "One."), ("C > p. 1", "Two.")]


def test_headers_and_footers_of_most_pages_are_no_text() -> None:
    pages = [f"ACME Rules\nPage text {name}.\n\nPage {n} of 5" for n, name in enumerate("abcde")]
    assert list(joined(pages)) == [f"Page text {name}." for name in "abcde"]
    assert list(joined(["Same", "Same", "Same", "Same"])) == ["Same"] * 4
    assert next(joined(pages[:2])).startswith("ACME Rules")


def test_headers_of_a_chapter_or_of_odd_pages_are_no_text() -> None:
    chapters = ["One", "Two", "One", "Two", "One", "Two", "Last"]
    pages = [f"Chapter {name} {n}\nText {'abcdefg'[n]}.\n{n}" for n, name in enumerate(chapters)]
    expected = [f"Text {letter}." for letter in "abcdef"]
    assert list(joined(pages)) == [*expected, "Chapter Last 6\nText g."]


def test_rows_of_numbers_and_lines_that_are_far_apart_are_text() -> None:
    rows = [f"{n} 40 100 2{n}\nText." for n in range(5)]
    assert [text.partition("\n")[0] for text in joined(rows)] == [
        f"{n} 40 100 2{n}" for n in range(5)
    ]
    apart = ["Other a.", "Other b.", "Other c."]
    pages = ["Note 1\nText d.", *apart, "Note 2\nText e.", *apart, "Note 3\nText f."]
    assert next(joined(pages)) == "Note 1\nText d."


def test_a_sentence_that_continues_on_the_next_page_is_moved_there() -> None:
    assert list(joined(["First. Managers have", "30 days. More", ""])) == [
        "First.",
        "Managers have 30 days. More",
        "",
    ]
    assert list(joined(["No sentence at all", "x"])) == ["No sentence at all", "x"]
