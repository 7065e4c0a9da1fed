"""PDF files: a section for each page, below the bookmarks that lead to it."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import pypdfium2
from pypdfium2 import PdfDocument, PdfiumError, PdfPage

from chatbot.adapters.extraction.outline import Outline, one_line
from chatbot.adapters.extraction.page_texts import Bookmark, joined, parted
from chatbot.adapters.extraction.recognition import Recognition
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed

_MOST_PAGES = 2000
_MOST_BOOKMARKS = 5000
_PAGE_LEVEL = 100
"""Pages are below all bookmarks."""
_HYPHEN = re.compile("[\u00ad\ufffe\x02]\r?\n?")
"""PDFium's mark of a word that continues in the next line."""
_PASSWORD = pypdfium2.raw.FPDF_ERR_PASSWORD
_IMAGE = pypdfium2.raw.FPDF_PAGEOBJ_IMAGE


def read_pdf(stream: BinaryIO, outline: Outline, *, ocr_program: str) -> None:
    try:
        with PdfDocument(stream.read()) as document:
            _add(document, outline, Recognition(ocr_program))
    except PdfiumError as error:
        locked = error.err_code == _PASSWORD
        reason = FailureReason.ENCRYPTED if locked else FailureReason.DAMAGED
        raise ExtractionFailed(reason) from error


def _add(document: PdfDocument, outline: Outline, recognition: Recognition) -> None:
    if len(document) > _MOST_PAGES:
        raise ExtractionFailed(FailureReason.TOO_MANY_PAGES)
    outline.title = one_line(document.get_metadata_value("Title"))
    texts = _texts(document, recognition)
    bookmarks = _bookmarks(document)
    for index, text in enumerate(joined(texts)):
        for headings, part in parted(text, bookmarks.get(index, ())):
            for level, title in headings:
                outline.heading(level + 1, title, is_repeated=True)
            if part:
                outline.heading(_PAGE_LEVEL, f"p. {index + 1}", is_repeated=True)
                outline.paragraph(part)


def _texts(document: PdfDocument, recognition: Recognition) -> list[str]:
    """Return the text of each page."""
    texts: list[str] = []
    has_images = False
    for index in range(len(document)):
        page = document[index]
        text = _text(page)
        if not text.strip() and _has_image(page):
            has_images = True
            text = recognition.text(page)
        texts.append(text)
        page.close()
    if has_images and not any(map(str.strip, texts)):
        raise ExtractionFailed(FailureReason.SCANNED)
    return texts


def _text(page: PdfPage) -> str:
    textpage = page.get_textpage()
    text = textpage.get_text_bounded()
    textpage.close()
    return _HYPHEN.sub("", text).replace("\r\n", "\n")


def _has_image(page: PdfPage) -> bool:
    return any(True for _ in page.get_objects(filter=[_IMAGE], max_depth=3))


def _bookmarks(document: PdfDocument) -> Mapping[int, Sequence[Bookmark]]:
    """Return the level and the title of the bookmarks of each page."""
    found: dict[int, list[Bookmark]] = defaultdict(list)
    for number, bookmark in enumerate(document.get_toc()):
        if number >= _MOST_BOOKMARKS:
            break
        target = bookmark.get_dest()
        index = target.get_index() if target else None
        if index is not None:
            found[index].append((bookmark.level, bookmark.get_title()))
    return found
