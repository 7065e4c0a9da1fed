"""`chatbot doctor` on the extraction of text from files."""

import os
from pathlib import Path

import pytest

from chatbot.adapters.extraction import subprocess_extractor
from commands import Run


def line_of(run: Run) -> str:
    _, out, _ = run("doctor")
    [line] = [line for line in out.splitlines() if line[6:].startswith("documents: ")]
    return line


def test_doctor_extracts_a_text_and_says_which_formats_are_supported(
    ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert line_of(ready) == "ok    documents: all formats"
    monkeypatch.setattr("chatbot.adapters.extraction.formats.LIBRARIES", ("not_installed",))
    assert line_of(ready).startswith("ok    documents: text formats only; ")
    assert "`make install`" in line_of(ready)


def test_doctor_finds_that_scans_cannot_be_read_without_the_extra(
    ready: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tesseract").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "tesseract").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("DOCUMENT_OCR", "tesseract")
    monkeypatch.setattr("chatbot.adapters.extraction.formats.LIBRARIES", ("not_installed",))
    assert line_of(ready).startswith("FAIL  documents: DOCUMENT_OCR: PDF files require the extra ")


def test_doctor_finds_a_program_for_scans_that_is_missing(
    ready: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("DOCUMENT_OCR", "tesseract")
    monkeypatch.setenv("PATH", str(folder))
    assert line_of(ready).startswith("FAIL  documents: DOCUMENT_OCR: tesseract is not installed")
    (folder / "tesseract").write_text("#!/bin/sh\n", encoding="utf-8")
    (folder / "tesseract").chmod(0o700)
    assert line_of(ready) == "ok    documents: all formats, and text in scans"


def test_doctor_finds_that_no_text_can_be_extracted(
    ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess_extractor, "_START", "raise SystemExit(1)")
    line = line_of(ready)
    assert line.startswith("FAIL  documents: no text can be extracted from files: ")
    assert line.count("Fix: ") == 1
