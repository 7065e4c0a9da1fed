"""Extraction from files of office programs; needs the extra `documents`."""

import io
import zipfile
from collections.abc import Callable, Mapping

import pytest

from chatbot.domain.extraction import FailureReason
from extracting import failure, read, text_of
from office_files import (
    W,
    archive,
    docx,
    item,
    odt,
    paragraph,
    pptx,
    shape,
    sheet_row,
    table,
    xlsx,
)

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    f'<w:document xmlns:w="{W}"><w:body><w:p><w:r><w:t>&b;</w:t></w:r></w:p></w:body></w:document>'
)
OUTSIDE = f"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<w:document xmlns:w="{W}"><w:body><w:p><w:r><w:t>&a;</w:t></w:r></w:p></w:body></w:document>"""
MAKERS: dict[str, Callable[[], bytes]] = {
    "a.docx": lambda: docx(paragraph("Texto")),
    "a.pptx": lambda: pptx([shape("Texto")]),
    "a.xlsx": lambda: xlsx({"Hoja": sheet_row(1, "Texto")}),
    "a.odt": lambda: odt("<text:p>Texto</text:p>"),
}


def test_docx_has_headings_in_any_language_of_word_lists_and_tables() -> None:
    body = (
        paragraph("Índice 3", style="TDC1")
        + paragraph("Vacaciones", style="Ttulo1")
        + paragraph("Veintitrés días al año.")
        + paragraph("Traslado", style="Propio")
        + item("hasta marzo")
        + item("con permiso", 1)
        + table([["Puesto", "Días"], ["Gerente", "25"]])
        + table([["Uno"]])
    )
    assert read("a.docx", docx(body, title="Normas & más")) == (
        "Normas & más",
        [
            ("Vacaciones", "Veintitrés días al año."),
            (
                "Vacaciones > Traslado",
                "- hasta marzo\n  - con permiso\n\nPuesto | Días\nGerente | 25\n\n- Uno",
            ),
        ],
    )


def test_docx_has_insertions_and_controls_but_no_deleted_or_hidden_text() -> None:
    run = "<w:r>{0}<w:t>{1}</w:t></w:r>"
    body = (
        "<w:p><w:ins>" + run.format("", "inserted ") + "</w:ins>"
        "<w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>"
        "<w:moveFrom>" + run.format("", "moved ") + "</w:moveFrom>"
        "<w:sdt><w:sdtContent>"
        + run.format("", "control ")
        + "</w:sdtContent></w:sdt>"
        + run.format("<w:rPr><w:vanish/></w:rPr>", "hidden ")
        + run.format('<w:rPr><w:vanish w:val="0"/></w:rPr>', "shown")
        + "<w:r><w:instrText>PAGE</w:instrText><w:br/></w:r>"
        + run.format("", "next")
        + "</w:p>"
    )
    assert text_of("a.docx", docx(body)) == "inserted control shown\nnext"


def test_docx_has_text_boxes_once_nested_tables_and_footnotes() -> None:
    box = f"<w:txbxContent>{paragraph('box')}</w:txbxContent>"
    body = (
        f"<w:p><w:r><w:t>outer</w:t><Choice>{box}</Choice><Fallback>{box}</Fallback></w:r></w:p>"
        f"<w:tbl><w:tr><w:tc>{paragraph('a')}{table([['b'], ['c']])}</w:tc></w:tr></w:tbl>"
    )
    notes = (
        f'<w:footnotes xmlns:w="{W}"><w:footnote>{paragraph("A note.")}</w:footnote></w:footnotes>'
    )
    text = text_of("a.docx", docx(body, more={"word/footnotes.xml": notes}))
    assert text == "box\n\nouter\n\n- a b c\n\nA note."


def test_pptx_has_a_section_for_each_slide_in_their_order_with_notes() -> None:
    cells = "".join(
        f"<a:tr>{''.join(f'<a:tc><a:p><a:r><a:t>{c}</a:t></a:r></a:p></a:tc>' for c in row)}</a:tr>"
        for row in ("ab", "cd")
    )
    slides = [
        shape("punto") + shape("Título", placeholder="title") + shape("7", placeholder="sldNum"),
        f"<p:graphicFrame><a:tbl>{cells}</a:tbl></p:graphicFrame>",
    ]
    assert read("a.pptx", pptx(slides, {1: shape("Dicho en voz alta.")}))[1] == [
        ("1. Título", "- punto"),
        ("2.", "a | b\nc | d\n\n- Dicho en voz alta."),
    ]


def test_xlsx_has_the_values_of_formulas_and_dates_with_the_names_of_columns() -> None:
    rows = sheet_row(1, "Nombre", "Alta", "Total") + sheet_row(
        2, "Núñez", 45000, 2.5, date=45000, formula="B2*2"
    )
    assert read("a.xlsx", xlsx({"Nómina": rows, "Vacía": ""}))[1] == [
        ("Nómina", "Nombre: Núñez | Alta: 2023-03-15 | Total: 2.5"),
        ("Vacía", "Vacía"),
    ]


def test_odt_has_headings_lists_tables_and_footnotes() -> None:
    body = (
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        '<text:h text:outline-level="1">Uno</text:h><text:h text:outline-level="2">Dos</text:h>'
        '<text:p>a<text:s text:c="3"/>b<text:tab/>c<text:line-break/>d<text:note>'
        "<text:note-citation>1</text:note-citation><text:note-body><text:p>Nota.</text:p>"
        "</text:note-body></text:note></text:p>"
        "<text:list><text:list-item><text:p>x</text:p><text:list><text:list-item><text:p>y</text:p>"
        "</text:list-item></text:list></text:list-item></text:list>"
        '<table:table><table:table-row><table:table-cell table:number-columns-repeated="9999999">'
        "<text:p>m</text:p></table:table-cell><table:table-cell><text:p>n</text:p>"
        "</table:table-cell></table:table-row></table:table>"
    )
    assert read("a.odt", odt(body, title="T")) == (
        "T",
        [("Uno > Dos", "Nota.\n\na   b c\nd\n\n- x\n  - y\n\nm | n")],
    )


def test_rtf_has_accents_other_scripts_and_rows() -> None:
    source = (
        rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\info{\title no}}\f0 Un a\'f1o, \u8364?\par "
        rb"\u1587?\u1604?\par\trowd\intbl A\cell B\cell\row\trowd\intbl C\cell D\cell\row}"
    )
    assert text_of("a.rtf", source) == "Un año, €\n\nسل\n\nA | B\nC | D"


@pytest.mark.parametrize("name", MAKERS)
def test_an_archive_that_is_cut_is_damaged(name: str) -> None:
    whole = MAKERS[name]()
    assert failure(name, whole[: len(whole) // 2]) is FailureReason.DAMAGED
    assert failure(name, b"PK\x03\x04" + b"x" * 500) is FailureReason.DAMAGED


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("other", MAKERS)
def test_the_archive_of_another_format_is_a_mismatch(name: str, other: str) -> None:
    expected = None if name == other else FailureReason.TYPE_MISMATCH
    assert failure(name, MAKERS[other]()) is expected


@pytest.mark.parametrize("source", [LAUGHS, OUTSIDE, LAUGHS.encode("utf-16")])
@pytest.mark.parametrize("part", ["word/document.xml", "word/styles.xml", "docProps/core.xml"])
def test_document_types_and_entities_are_refused_wherever_they_are(
    source: str | bytes, part: str
) -> None:
    raw = docx(paragraph("x"), more={part: source})
    assert failure("a.docx", raw) is FailureReason.ENTITIES


def test_entities_in_any_part_of_a_workbook_are_refused() -> None:
    with_entities = {"xl/sharedStrings.xml": LAUGHS}
    assert failure("a.xlsx", added(MAKERS["a.xlsx"](), with_entities)) is FailureReason.ENTITIES


@pytest.mark.parametrize("name", ["a.docx", "a.xlsx", "a.odt"])
def test_an_entry_that_expands_to_far_more_than_its_size_is_out_of_bounds(name: str) -> None:
    bomb = '<?xml version="1.0"?><x>' + " " * 20_000_000 + "</x>"
    part = {"a.docx": "word/styles.xml", "a.xlsx": "xl/sharedStrings.xml", "a.odt": "meta.xml"}[
        name
    ]
    raw = added(MAKERS[name](), {part: bomb})
    assert failure(name, raw) is FailureReason.ARCHIVE_BOUNDS


def test_the_sum_of_all_entries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatbot.adapters.extraction.package._MOST_BYTES", 1000)
    assert failure("a.docx", docx(paragraph("x" * 999))) is FailureReason.ARCHIVE_BOUNDS


def test_an_archive_with_too_many_or_ambiguous_entries_is_out_of_bounds() -> None:
    many = {f"word/{number}": b"" for number in range(10_001)}
    assert failure("a.docx", archive(many)) is FailureReason.ARCHIVE_BOUNDS
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = added(docx(paragraph("x")), {"word/document.xml": b""}, replace=False)
    assert failure("a.docx", twice) is FailureReason.ARCHIVE_BOUNDS


def test_archives_inside_an_archive_are_not_opened() -> None:
    inner = archive({"bomb": b" " * 20_000_000})
    assert text_of("a.docx", docx(paragraph("x"), more={"word/embeddings/a.zip": inner})) == "x"


def test_xml_that_is_nested_too_deeply_is_out_of_bounds() -> None:
    deep = "<w:p>" * 5000 + "</w:p>" * 5000
    assert failure("a.docx", docx(deep)) is FailureReason.ARCHIVE_BOUNDS


def test_encrypted_archives_are_reported_as_encrypted() -> None:
    raw = bytearray(docx(paragraph("x")))
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    assert failure("a.docx", bytes(raw)) is FailureReason.ENCRYPTED
    assert failure("a.odt", odt("", manifest="<encryption-data/>")) is FailureReason.ENCRYPTED


def test_more_slides_than_2000_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatbot.adapters.extraction.slides._MOST_SLIDES", 1)
    assert failure("a.pptx", pptx([shape("a"), shape("b")])) is FailureReason.TOO_MANY_PAGES


def added(raw: bytes, entries: Mapping[str, str | bytes], *, replace: bool = True) -> bytes:
    """Return the archive with these entries as well."""
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        old = {name: file.read(name) for name in file.namelist()}
    if replace:
        return archive({**old, **entries})
    out = io.BytesIO(raw)
    with zipfile.ZipFile(out, "a") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return out.getvalue()
