"""Extraction from formats that need no extra."""

import codecs

import pytest

from chatbot.domain.extraction import FailureReason
from extracting import failure, read, text_of


@pytest.mark.parametrize(
    "raw",
    [
        "Ñandú: 2 €".encode(),
        codecs.BOM_UTF8 + "Ñandú: 2 €".encode(),
        "Ñandú: 2 €".encode("cp1252"),
        codecs.BOM_UTF16_LE + "Ñandú: 2 €".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "Ñandú: 2 €".encode("utf-16-be"),
        codecs.BOM_UTF32_LE + "Ñandú: 2 €".encode("utf-32-le"),
    ],
)
def test_text_is_decoded_by_its_mark_or_as_utf8_or_as_cp1252(raw: bytes) -> None:
    assert text_of("a.txt", raw) == "Ñandú: 2 €"


def test_right_to_left_text_is_kept_as_it_is_written() -> None:
    assert text_of("a.txt", "سياسة الإجازات") == "سياسة الإجازات"


@pytest.mark.parametrize("raw", [b"a\0b", codecs.BOM_UTF16_LE + b"a\0\0\0"])
def test_bytes_with_nul_are_not_text(raw: bytes) -> None:
    assert failure("a.txt", raw) is FailureReason.TYPE_MISMATCH


def test_half_a_character_of_utf16_is_damage() -> None:
    assert failure("a.txt", codecs.BOM_UTF16_LE + b"a\0b") is FailureReason.DAMAGED


def test_markdown_has_sections_below_the_path_of_its_headings() -> None:
    source = "# Handbook\nIntro\n\nHolidays\n--------\n23 days.\n### Carry-over ###\nUntil March.\n"
    assert read("a.md", source) == (
        "Handbook",
        [
            ("Handbook", "Intro"),
            ("Handbook > Holidays", "23 days."),
            ("Handbook > Holidays > Carry-over", "Until March."),
        ],
    )


@pytest.mark.parametrize(
    "text",
    [
        "```\n# not a heading\n```",
        "- item\n---",
        "a | b\n--- | ---\n1 | 2",
        "#hashtag",
        "~~~\n```\n# x",
    ],
)
def test_what_only_looks_like_a_heading_of_markdown_is_text(text: str) -> None:
    assert read("a.md", text) == ("", [("", text)])


def test_front_matter_gives_the_title_and_is_no_text() -> None:
    assert read("a.md", "---\ntitle: 'Rules'\nowner: HR\n---\nText") == ("Rules", [("", "Text")])


def test_a_heading_without_a_text_is_found_too() -> None:
    assert read("a.md", "# One\n# Two\n## Three")[1] == [("One", "One"), ("Two > Three", "Three")]


def test_html_is_what_a_browser_displays() -> None:
    page = """<!doctype html><html><head><title>T &amp; U</title><style>p{}</style></head><body>
    <nav>Menu</nav><script>alert("x")</script><h1>Uno</h1><p>Línea
    partida<br>otra <b>negrita</b></p><p style="display: none">secreto</p><p hidden>nada
    <h2>Dos</h2><ul><li>a<li>b<ul><li>c</ul></ul>
    <table><tr><th>N</th><th>V</th></tr><tr><td>x</td><td></td><td>1</td></tr></table>
    <pre>k
  v</pre><!-- comment --><img alt="x" src="http://198.51.100.1/x.png">&copy;</body></html>"""
    assert read("a.html", page) == (
        "T & U",
        [
            ("Uno", "Línea partida\notra negrita"),
            ("Uno > Dos", "- a\n- b\n  - c\n\nN | V\nx |  | 1\n\nk\nv\n\n©"),
        ],
    )


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("<tr><th>Bin<th>Day</tr><tr><td>Blue<td>Monday</tr>", "Bin: Blue | Day: Monday"),
        (
            "<thead><tr><th>Bin<th>Day</thead><tr><th>Blue<td></tr><tr><td>a<td>b",
            "- Bin: Blue\nBin: a | Day: b",
        ),
        ("<tr><th>A<td>1</tr><tr><th>B<td>2</tr>", "A | 1\nB | 2"),
        ("<tr><th>A<th>B</tr>", "A | B"),
        ("<tr><th>A<th>B</tr><tr><td>1<table><tr><td>2<td>3</table></tr>", "A | B\n- 1\n\n2 | 3"),
    ],
    ids=["headers", "empty cell", "headers at the left", "headers only", "table in a cell"],
)
def test_rows_of_html_have_the_names_of_their_columns(rows: str, text: str) -> None:
    _, [(_, found)] = read("a.html", f"<h1>T</h1><table>{rows}</table>")
    assert found == text


def test_html_is_decoded_by_its_declared_charset() -> None:
    page = '<meta charset="windows-1251"><p>Отпуск</p>'.encode("cp1251")
    assert text_of("a.htm", page) == "Отпуск"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_has_a_line_for_each_row_with_the_names_of_its_columns(delimiter: str) -> None:
    rows = [["Nombre", "Días"], ["Ana, la jefa; aquí", "23"], ["", "5"]]
    lines = [delimiter.join(f'"{cell}"' for cell in row) for row in rows]
    assert (
        text_of("a.csv", "\r\n".join(lines)) == "Nombre: Ana, la jefa; aquí | Días: 23\n- Días: 5"
    )


def test_csv_with_a_caption_or_without_names_is_read_too() -> None:
    assert text_of("a.csv", "Rates 2026\nCity,Rate\nMadrid,40") == (
        "Rates 2026\n\nCity: Madrid | Rate: 40"
    )
    assert text_of("a.csv", "1,2\n3,4") == "1 | 2\n3 | 4"


def test_csv_with_a_huge_field_is_refused() -> None:
    assert failure("a.csv", 'a\n"' + "x" * 2_000_000) is FailureReason.DAMAGED


def test_json_has_rows_of_values_below_the_names_that_lead_to_them() -> None:
    source = (
        '{"title": "Rates", "city": {"Madrid": [{"m": 40.10, "ok": true}, {"m": null}], "x": 1}}'
    )
    assert read("a.json", source) == (
        "Rates",
        [
            ("", "- title: Rates"),
            ("city", "- x: 1"),
            ("city > Madrid", "m: 40.10 | ok: true\n- m:"),
        ],
    )


@pytest.mark.parametrize("raw", ['{"a": ', "[" * 100_000, "nothing"])
def test_broken_or_endless_json_is_damage(raw: str) -> None:
    assert failure("a.json", raw) is FailureReason.DAMAGED


def test_json_that_is_nested_too_deeply_is_out_of_bounds() -> None:
    assert failure("a.json", "[" * 80 + "]" * 80) is FailureReason.ARCHIVE_BOUNDS


MAIL = b"""From: =?utf-8?q?Ana_N=C3=BA=C3=B1ez?= <ana@example.com>
To: all@example.com
Subject: Holidays
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=B

--B
Content-Type: multipart/alternative; boundary=C

--C
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Vacaciones: un a=F1o.
--C
Content-Type: text/html

<p>the same</p>
--C--
--B
Content-Type: application/pdf
Content-Disposition: attachment; filename=rules.pdf

%PDF-
--B
Content-Type: message/rfc822

From: bob@example.com
Subject: Inner
Content-Type: text/html

<title>no</title><p>Inner text</p>
--B--
"""


def test_mail_has_its_headers_its_text_and_the_names_of_attachments() -> None:
    assert read("a.eml", MAIL) == (
        "Holidays",
        [
            (
                "",
                (
                    "- From: Ana Núñez <ana@example.com>\n- To: all@example.com\n- Subject: Holidays\n\n"
                    "Vacaciones: un año.\n\n- Attachment: rules.pdf\n\n"
                    "- From: bob@example.com\n- Subject: Inner\n\nInner text"
                ),
            )
        ],
    )


def test_mail_inside_mail_is_read_down_to_the_fourth() -> None:
    mail = b"Subject: m5\n\nx5"
    for depth in range(4, -1, -1):
        mail = b"Subject: m%d\nContent-Type: multipart/mixed; boundary=B%d\n\n--B%d\n" % (
            depth,
            depth,
            depth,
        ) + b"Content-Type: message/rfc822\n\n%s\n--B%d--\n" % (mail, depth)
    text = text_of("a.eml", mail)
    assert "Subject: m3" in text
    assert "Subject: m4" not in text


def test_a_text_without_headers_is_not_a_mail() -> None:
    assert failure("a.eml", "Just some text.") is FailureReason.TYPE_MISMATCH


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.csv", "a.json"])
def test_text_of_50_mib_is_too_much(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatbot.adapters.extraction.outline.MAX_TEXT_BYTES", 100)
    assert failure(name, '"' + "ñ" * 60 + '"') is FailureReason.TOO_MUCH_TEXT
