"""Files with changed bytes: every outcome is a text or a reason, in bounded time."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatbot.domain.extraction import FailureReason
from extracting import failure
from office_files import docx, item, odt, paragraph, pptx, shape, sheet_row, table, xlsx
from pdf_files import pdf

FILES: dict[str, bytes] = {
    "a.md": b"# One\n\n- two\n```\nthree\n",
    "a.html": b"<html><title>a</title><p hidden>b<table><tr><td>c</table><ul><li>d&amp;",
    "a.csv": b'a;b\n"c";"d"\n',
    "a.json": b'{"a": [1, {"b": null}], "c": "\\u00e9"}',
    "a.eml": b"From: a@b.c\nSubject: =?utf-8?q?x?=\nContent-Type: multipart/mixed; boundary=B\n\n"
    b"--B\nContent-Type: text/html; charset=latin1\n\n<p>x\n--B--\n",
    "a.rtf": rb"{\rtf1\ansi{\fonttbl{\f0\fcharset0 Arial;}}\f0 a\'f1o \u8364?\par\cell\row}",
    "a.pdf": pdf(["One.", "Two."], title="T", bookmarks=[(0, "A"), (1, "B")]),
    "a.docx": docx(paragraph("a", style="Ttulo1") + item("b") + table([["c"]])),
    "a.pptx": pptx([shape("a", placeholder="title"), shape("b")], {0: shape("c")}),
    "a.xlsx": xlsx({"S": sheet_row(1, "a", 2.5)}),
    "a.odt": odt("<text:p>a</text:p><text:list><text:p>b</text:p></text:list>"),
}


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_file_with_changed_bytes_is_read_or_fails_with_a_reason(
    name: str, data: st.DataObject
) -> None:
    raw = bytearray(FILES[name])
    places = st.integers(0, len(raw) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=8), "places"):
        raw[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(raw)) | places, "length")
    assert failure(name, bytes(raw[:cut])) is not FailureReason.CRASHED


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_changed_is_read(name: str) -> None:
    assert failure(name, FILES[name]) is None
