"""Extraction in a process of its own."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from chatbot.adapters.extraction.formats import FORMATS
from chatbot.adapters.extraction.subprocess_extractor import SubprocessExtractor
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed
from chatbot.entrypoints.container.extraction_parts import build_extractor
from extracting import MAX_BYTES, extract, reason
from office_files import docx, odt, paragraph, pptx, shape, sheet_row, xlsx
from pdf_files import bomb_pdf, encrypted_pdf, pdf, scanned_pdf
from service import settings_for_tests

FILES: dict[str, bytes] = {
    "a.txt": "año".encode("cp1252"),
    "a.md": "# Uno\naño".encode(),
    "a.html": "<p>año".encode(),
    "a.csv": "n\naño".encode(),
    "a.json": '["año"]'.encode(),
    "a.eml": "Subject: x\n\naño".encode(),
    "a.rtf": rb"{\rtf1\ansi a\'f1o}",
    "a.pdf": pdf(["año"]),
    "a.docx": docx(paragraph("año")),
    "a.pptx": pptx([shape("año")]),
    "a.xlsx": xlsx({"S": sheet_row(1, "año")}),
    "a.odt": odt("<text:p>año</text:p>"),
}
TYPES = {known.extensions[0]: known.media_type for known in FORMATS}


def test_every_format_is_in_this_test() -> None:
    assert {name.partition(".")[2] for name in FILES} == set(TYPES)


@pytest.mark.parametrize("name", FILES)
async def test_every_format_is_read_with_all_limits(name: str, tmp_path: Path) -> None:
    found = await extract(tmp_path, name, FILES[name])
    assert found.media_type == TYPES[name.partition(".")[2]]
    assert "año" in found.passages[-1].text


async def test_passages_are_where_their_offsets_say(tmp_path: Path) -> None:
    found = await extract(tmp_path, "a.md", "# T\nUno ñ.\n## B\nDos.\n\n😀 tres.\n")
    assert found.title == "T"
    whole = "Uno ñ.\n\nDos.\n\n😀 tres."
    passages = [(each.heading, each.text) for each in found.passages]
    assert passages == [("T", "Uno ñ."), ("T > B", "Dos.\n\n😀 tres.")]
    assert [whole[each.start : each.end] for each in found.passages] == [
        "Uno ñ.",
        "Dos.\n\n😀 tres.",
    ]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", b"", FailureReason.EMPTY),
        ("a.docx", b"", FailureReason.EMPTY),
        ("a.txt", b" \n\t ", FailureReason.NO_TEXT),
        ("a.html", b"<script>x</script>", FailureReason.NO_TEXT),
        ("a.docx", docx(paragraph(" ")), FailureReason.NO_TEXT),
        ("a.pdf", pdf(["", ""]), FailureReason.NO_TEXT),
        ("a.pdf", scanned_pdf(), FailureReason.SCANNED),
        ("a.pdf", encrypted_pdf(), FailureReason.ENCRYPTED),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, FailureReason.TYPE_MISMATCH),
        (
            "a.docx",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            FailureReason.ENCRYPTED,
        ),
        ("a.txt", b"\x89PNG\r\n\x1a\n", FailureReason.TYPE_MISMATCH),
        ("a.md", FILES["a.pdf"], FailureReason.TYPE_MISMATCH),
        ("a.csv", FILES["a.xlsx"], FailureReason.TYPE_MISMATCH),
        ("a.pdf", FILES["a.docx"], FailureReason.TYPE_MISMATCH),
        ("a.docx", FILES["a.xlsx"], FailureReason.TYPE_MISMATCH),
        ("a.rtf", FILES["a.md"], FailureReason.TYPE_MISMATCH),
        ("a.exe", b"MZ", FailureReason.UNSUPPORTED),
        ("noextension", b"\x7fELF", FailureReason.UNSUPPORTED),
    ],
)
async def test_a_file_without_text_or_of_another_type_fails_with_the_reason(
    name: str, content: bytes, expected: FailureReason, tmp_path: Path
) -> None:
    assert await reason(tmp_path, name, content) is expected


@pytest.mark.parametrize(
    ("declared", "name", "expected"),
    [
        ("application/pdf", "a.txt", "application/pdf"),
        ("Text/Markdown; charset=utf-8", "x", "text/markdown"),
        ("text/plain", "a.md", "text/markdown"),
        ("text/plain", "a.PDF", "application/pdf"),
        ("text/plain", "notes", "text/plain"),
        ("application/octet-stream", "a.b.HTM", "text/html"),
        ("", "a.log", "text/plain"),
    ],
)
def test_the_declared_type_counts_unless_it_is_general(
    declared: str, name: str, expected: str
) -> None:
    assert SubprocessExtractor(max_bytes=1).media_type_of(declared, name) == expected


@pytest.mark.parametrize(
    ("declared", "name"), [("application/zip", "a.docx"), ("", "a"), ("image/png", "a.txt")]
)
def test_an_unknown_type_is_not_supported(declared: str, name: str) -> None:
    with pytest.raises(ExtractionFailed) as caught:
        SubprocessExtractor(max_bytes=1).media_type_of(declared, name)
    assert caught.value.reason is FailureReason.UNSUPPORTED


async def test_without_the_extra_text_formats_work_and_the_error_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatbot.adapters.extraction.formats.LIBRARIES", ("not_installed",))
    assert await reason(tmp_path, "a.md", FILES["a.md"]) is None
    with pytest.raises(ExtractionFailed, match="extra `documents`"):
        await extract(tmp_path, "a.docx", FILES["a.docx"])


async def test_a_file_that_is_larger_than_allowed_is_not_opened(tmp_path: Path) -> None:
    assert await reason(tmp_path, "a.txt", b"x" * (MAX_BYTES + 1)) is FailureReason.FILE_TOO_LARGE


async def test_a_bomb_ends_with_a_reason_within_the_limits(tmp_path: Path) -> None:
    bomb_reason = await reason(tmp_path, "a.pdf", bomb_pdf())
    assert bomb_reason in (
        FailureReason.OUT_OF_MEMORY,
        FailureReason.CRASHED,
        FailureReason.NO_TEXT,
    )


async def test_a_file_that_needs_too_much_memory_fails_with_the_reason(tmp_path: Path) -> None:
    raw = b"[" + b"[]," * (MAX_BYTES // 3 - 10) + b"[]]"
    assert await reason(tmp_path, "a.json", raw) is FailureReason.OUT_OF_MEMORY


async def test_a_cancelled_extraction_ends_its_processes_at_once(tmp_path: Path) -> None:
    program, started = tmp_path / "tesseract", tmp_path / "started"
    program.write_text(
        f"#!{sys.executable}\nimport time\nopen({str(started)!r}, 'w').close()\ntime.sleep(50)"
    )
    program.chmod(0o700)
    work = asyncio.create_task(extract(tmp_path, "a.pdf", scanned_pdf(), ocr_program=str(program)))
    while not started.exists() and not work.done():  # noqa: ASYNC110 # another process says so
        await asyncio.sleep(0.02)
    work.cancel()
    begun = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(("ocr", "is_read"), [("off", False), ("tesseract", True)])
async def test_the_setting_names_the_program_that_is_searched_for(
    ocr: str, is_read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tesseract").write_text(f"#!{sys.executable}\nprint('recognized')")
    (tmp_path / "tesseract").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    extractor = build_extractor(settings_for_tests(document_ocr=ocr, document_max_mib=1))
    path = tmp_path / "scan"
    path.write_bytes(scanned_pdf())
    if is_read:
        assert (await extractor.extract(path, "", "a.pdf")).passages[0].text == "recognized"
    path.write_bytes(b"x" * (1 + 1024 * 1024))
    with pytest.raises(ExtractionFailed) as caught:
        await extractor.extract(path, "", "a.txt")
    assert caught.value.reason is FailureReason.FILE_TOO_LARGE
    await extractor.aclose()


async def test_a_scan_is_not_recognized_where_the_program_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "scan"
    path.write_bytes(scanned_pdf())
    extractor = build_extractor(settings_for_tests(document_ocr="tesseract"))
    with pytest.raises(ExtractionFailed) as caught:
        await extractor.extract(path, "", "a.pdf")
    await extractor.aclose()
    assert caught.value.reason is FailureReason.SCANNED


OCR = """#!{python}
import sys
if sys.argv[1:] == ["--list-langs"]:
    print("List of available languages (2):\\neng\\nosd")
else:
    head = sys.stdin.buffer.readline()
    width, height = map(int, head.split()[1:3])
    assert len(sys.stdin.buffer.read()) == width * height
    print(*sys.argv[1:], width > 500)
"""


async def test_a_scan_is_recognized_by_the_program_that_is_set(tmp_path: Path) -> None:
    program = tmp_path / "tesseract"
    program.write_text("#!/bin/sh\n")
    assert await reason(tmp_path, "a.pdf", scanned_pdf()) is FailureReason.SCANNED
    program.write_text(OCR.format(python=sys.executable))
    program.chmod(0o700)
    found = await extract(tmp_path, "a.pdf", scanned_pdf(), ocr_program=str(program))
    assert found.passages[0].text == "stdin stdout -l eng True"


async def test_a_program_for_recognition_that_fails_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(ExtractionFailed) as caught:
        await extract(tmp_path, "a.pdf", scanned_pdf(), ocr_program=str(tmp_path / "missing"))
    assert caught.value.reason is FailureReason.CRASHED
