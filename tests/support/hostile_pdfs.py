"""PDF files that attack their readers, and files of other types than their names say."""

import struct
import zlib

from chatbot.domain.extraction import FailureReason
from hostile_files import (
    DAMAGED,
    ENCRYPTED,
    MEMORY,
    NO_TEXT,
    OTHER_TYPE,
    hostile,
)
from office_files import archive
from pdf_files import Pdf, bomb_pdf, encrypted_pdf, pdf


def _page(file: Pdf, entries: bytes) -> bytes:
    """Finish a file that has one page with these entries."""
    tree = file.add(b"")
    page = file.add(b"<< /Type /Page /Parent %d 0 R %s >>" % (tree, entries))
    file.set(tree, b"<< /Type /Pages /Kids [%d 0 R] /Count 1 >>" % page)
    return file.written(root=file.add(b"<< /Type /Catalog /Pages %d 0 R >>" % tree))


def _many_objects() -> bytes:
    file = Pdf()
    for _ in range(50_000):
        file.add(b"<<>>")
    return _page(file, b"/MediaBox [0 0 9 9]")


def _pages_in_a_circle() -> bytes:
    file = Pdf()
    tree = file.add(b"")
    file.set(tree, b"<< /Type /Pages /Kids [%d 0 R %d 0 R] /Count 1999 >>" % (tree, tree))
    return file.written(root=file.add(b"<< /Type /Catalog /Pages %d 0 R >>" % tree))


def _tables_in_a_circle() -> bytes:
    raw = pdf(["x"])
    return raw.replace(b"trailer <<", b"trailer << /Prev %d" % raw.rindex(b"xref\n0"))


def _form_in_itself() -> bytes:
    file = Pdf()
    form = file.add(b"")
    resources = b"/Resources << /XObject << /X %d 0 R >> >>" % form
    head = b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] %s /Length 11 >>" % resources
    file.set(form, head + b"\nstream\n/X Do /X Do\nendstream")
    content = file.stream(b"/X Do")
    return _page(file, b"/MediaBox [0 0 9 9] /Contents %d 0 R %s" % (content, resources))


def _huge_image(more: bytes, data: bytes) -> bytes:
    file = Pdf()
    size = b"/Width 2147483647 /Height 2147483647 /ColorSpace /DeviceGray "
    image = file.stream(data, b"/Type /XObject /Subtype /Image " + size + more)
    content = file.stream(b"q 100000000 0 0 100000000 0 0 cm /I Do Q")
    resources = b"/Resources << /XObject << /I %d 0 R >> >>" % image
    return _page(
        file, b"/MediaBox [0 0 1000000000 1000000000] /Contents %d 0 R %s" % (content, resources)
    )


_JBIG2_PAGE = struct.pack(">IBBBIIIIIBH", 0, 48, 0, 1, 19, 2**31 - 1, 2**31 - 1, 0, 0, 0, 0)
PDFS = [
    hostile("objects.pdf", _many_objects, NO_TEXT),
    hostile("circle.pdf", _pages_in_a_circle, NO_TEXT, DAMAGED),
    hostile("tables.pdf", _tables_in_a_circle, DAMAGED, None),
    hostile("form.pdf", _form_in_itself, MEMORY, NO_TEXT),
    hostile(
        "flate.pdf",
        lambda: _huge_image(
            b"/BitsPerComponent 8 /Filter /FlateDecode ", zlib.compress(b"x" * 999)
        ),
        FailureReason.SCANNED,
    ),
    hostile(
        "jbig2.pdf",
        lambda: _huge_image(b"/BitsPerComponent 1 /Filter /JBIG2Decode ", _JBIG2_PAGE),
        FailureReason.SCANNED,
    ),
    hostile("bomb.pdf", bomb_pdf, MEMORY, FailureReason.CRASHED, NO_TEXT),
    hostile("pages.pdf", lambda: pdf(["x"] * 2001), FailureReason.TOO_MANY_PAGES),
    hostile("letters.pdf", lambda: pdf(["x" * 100_000])),
    hostile("garbage.pdf", lambda: b"%PDF-1.7\n" + b"1 0 obj\n<<" * 50_000, DAMAGED),
    hostile("arrays.pdf", lambda: b"%PDF-1.7\n1 0 obj\n" + b"[" * 200_000, DAMAGED),
    hostile("encrypted.pdf", encrypted_pdf, ENCRYPTED),
]
WRONG_TYPES = [
    hostile(f"{name}.{extension}", make, OTHER_TYPE)
    for name, make in (
        ("pdf", lambda: pdf(["x"])),
        ("zip", lambda: archive({"a": "b"})),
        ("png", lambda: b"\x89PNG\r\n\x1a\n"),
    )
    for extension in (
        "txt",
        "md",
        "html",
        "csv",
        "json",
        "eml",
        "pdf",
        "docx",
        "pptx",
        "xlsx",
        "odt",
        "rtf",
    )
    if name != extension
]
