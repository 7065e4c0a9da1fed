"""Files of office programs that attack their readers."""

from chatbot.domain.extraction import FailureReason
from hostile_files import BOUNDS, DAMAGED, MEMORY, hostile
from office_files import archive, docx, odt, paragraph, pptx, shape, xlsx

CELL = '<row r="1"><c r="A1"><v>1</v></c></row>'
BLANKS = '<text:s text:c="999999999"/>'
WORD = r"\b a"
FAR = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
TEXT_CELL = '<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c></row>'


def _sheet(rows: str, after: str = "") -> bytes:
    """A workbook with these rows, and with what comes after them."""
    return xlsx({"S": f"{rows}</sheetData>{after}<sheetData>" if after else rows})


def _nested_table(depth: int) -> str:
    return f"{'<w:tbl><w:tr><w:tc>' * depth}{paragraph('x')}{'</w:tc></w:tr></w:tbl>' * depth}"


def _repeated(times: int) -> str:
    columns = f'table:number-columns-repeated="{times}"'
    cell = f"<table:table-cell {columns}><text:p>x</text:p></table:table-cell>"
    row = f'<table:table-row table:number-rows-repeated="{times}">{cell}</table:table-row>'
    return f"<table:table><table:table-column {columns}/>{row}</table:table>"


OFFICE = [
    hostile("far-cell.xlsx", lambda: _sheet(CELL + FAR), MEMORY, BOUNDS),
    hostile(
        "merged.xlsx",
        lambda: _sheet(TEXT_CELL, '<mergeCells><mergeCell ref="A1:XFD1048576"/></mergeCells>'),
    ),
    hostile(
        "cells.xlsx", lambda: _sheet(f'<row r="1">{"<c><v>1</v></c>" * 1_000_000}</row>'), BOUNDS
    ),
    hostile("tables.docx", lambda: docx(_nested_table(100_000)), BOUNDS),
    hostile("tables-300.docx", lambda: docx(_nested_table(300) * 20)),
    hostile("dense.docx", lambda: docx(paragraph("x" * 9_000_000)), BOUNDS),
    hostile(
        "entities.docx",
        lambda: archive({"word/document.xml": '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'}),
        FailureReason.ENTITIES,
    ),
    hostile("entries.docx", lambda: archive({f"a{n}": "" for n in range(10_001)}), BOUNDS),
    hostile("cut-off.docx", lambda: docx(paragraph("x"))[:300], DAMAGED),
    hostile("repeated.odt", lambda: odt(_repeated(10**9))),
    hostile("blanks.odt", lambda: odt(f"<text:p>{BLANKS * 20_000}x</text:p>")),
    hostile(
        "digits.odt", lambda: odt(f'<text:h text:outline-level="{"9" * 9999}">x</text:h>'), DAMAGED
    ),
    hostile("slides.pptx", lambda: pptx([shape("a")] * 2001), FailureReason.TOO_MANY_PAGES),
    hostile("groups.rtf", lambda: rf"{{\rtf1 {'{' * 100_000}x{'}' * 100_000}}}"),
    hostile("words.rtf", lambda: rf"{{\rtf1 {WORD * 100_000}}}"),
    hostile("binary.rtf", lambda: r"{\rtf1 \bin999999999 x}"),
]
