"""Builds the extraction of text from files."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from chatbot.adapters.extraction.formats import has_extra
from chatbot.adapters.extraction.subprocess_extractor import SubprocessExtractor
from chatbot.domain.ports.extraction import ExtractionFailed, Extractor
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.subject import SettingsError


def build_extractor(settings: Settings) -> Extractor:
    """Without the program that DOCUMENT_OCR names, text in images is not recognized."""
    ocr = settings.documents.ocr
    return SubprocessExtractor(
        max_bytes=settings.documents.max_bytes,
        ocr_program="" if ocr == "off" else shutil.which(ocr) or "",
    )


def describe_extraction(settings: Settings) -> str:
    """Return which formats are supported, once a text could be extracted.

    Raises:
        SettingsError: none can, or the program for text in images is not installed.
    """
    try:
        asyncio.run(_extract_sample(build_extractor(settings)))
    except (ExtractionFailed, OSError) as error:
        raise SettingsError(
            f"no text can be extracted from files: {error} Fix: check that this account may start "
            f"{sys.executable} with limits of 512 MiB and 64 open files"
        ) from error
    if settings.documents.ocr != "off" and shutil.which(settings.documents.ocr) is None:
        raise SettingsError(
            "DOCUMENT_OCR: tesseract is not installed, so text in scans is not recognized. Fix: "
            "`apt install tesseract-ocr tesseract-ocr-spa`, or remove the setting"
        )
    if not has_extra():
        if settings.documents.ocr != "off":
            raise SettingsError(
                "DOCUMENT_OCR: PDF files require the extra `documents`. Fix: install it; in a "
                "checkout, run `make install`; or remove the setting"
            )
        return (
            "text formats only; PDF and office files require the extra `documents`; in a "
            "checkout, `make install` installs it"
        )
    return "all formats" + ("" if settings.documents.ocr == "off" else ", and text in scans")


async def _extract_sample(extractor: Extractor) -> None:
    with tempfile.TemporaryDirectory(prefix="chatbot-") as folder:
        path = Path(folder) / "sample"
        path.write_text("sample", encoding="utf-8")
        try:
            await extractor.extract(path, "text/plain", "sample.txt")
        finally:
            await extractor.aclose()
