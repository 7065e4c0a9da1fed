"""Builds what extracts the text of files."""

import shutil

from chatbot.adapters.extraction.subprocess_extractor import SubprocessExtractor
from chatbot.domain.ports.extraction import Extractor
from chatbot.entrypoints.settings import Settings


def build_extractor(settings: Settings) -> Extractor:
    """Without the program that DOCUMENT_OCR names, text in images is not recognized."""
    ocr = settings.documents.ocr
    return SubprocessExtractor(
        max_bytes=settings.documents.max_bytes,
        ocr_program="" if ocr == "off" else shutil.which(ocr) or "",
    )
