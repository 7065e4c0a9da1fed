"""PDF files, written by hand."""

import zlib
from collections.abc import Sequence


class Pdf:
    """Collects objects and writes them with their cross-reference table."""

    def __init__(self) -> None:
        self._objects: list[bytes] = []

    def add(self, content: bytes) -> int:
        self._objects.append(content)
        return len(self._objects)

    def stream(self, data: bytes, extra: bytes = b"") -> int:
        return self.add(b"<< /Length %d %s>>\nstream\n%s\nendstream" % (len(data), extra, data))

    def set(self, number: int, content: bytes) -> None:
        self._objects[number - 1] = content

    def written(self, *, root: int, trailer: bytes = b"") -> bytes:
        out, offsets = b"%PDF-1.7\n", []
        for number, content in enumerate(self._objects, 1):
            offsets.append(len(out))
            out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
        table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
        count = len(self._objects) + 1
        tail = b"trailer << /Size %d /Root %d 0 R %s>>\n" % (count, root, trailer)
        table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (count, table)
        return out + table + tail + b"startxref\n%d\n%%%%EOF\n" % len(out)


def pdf(
    pages: Sequence[str], *, title: str = "", bookmarks: Sequence[tuple[int, str]] = ()
) -> bytes:
    """Return a file with these texts. `bookmarks`: the index of a page, and a title."""
    file = Pdf()
    font = file.add(
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
    )
    contents = [file.stream(_text(page)) for page in pages]
    return _finished(file, contents, b"/Font << /F1 %d 0 R >>" % font, title, bookmarks)


def scanned_pdf() -> bytes:
    """Return a file with a page that has only an image."""
    file = Pdf()
    pixels = zlib.compress(bytes(range(256)) * 4)
    image = file.stream(
        pixels,
        b"/Type /XObject /Subtype /Image /Width 32 /Height 32 /ColorSpace /DeviceGray "
        b"/BitsPerComponent 8 /Filter /FlateDecode ",
    )
    content = file.stream(b"q 500 0 0 700 50 50 cm /Im1 Do Q")
    return _finished(file, [content], b"/XObject << /Im1 %d 0 R >>" % image)


def encrypted_pdf() -> bytes:
    """Return a file that cannot be opened without a password."""
    file = Pdf()
    pages = file.add(b"<< /Type /Pages /Kids [] /Count 0 >>")
    root = file.add(b"<< /Type /Catalog /Pages %d 0 R >>" % pages)
    lock = file.add(
        b"<< /Filter /Standard /V 2 /R 3 /Length 128 /P -44 /O <%s> /U <%s> >>"
        % (b"ab" * 32, b"cd" * 32)
    )
    return file.written(root=root, trailer=b"/Encrypt %d 0 R /ID [<00112233><00112233>] " % lock)


def bomb_pdf() -> bytes:
    """Return a file whose page is a stream that expands to 1 GiB, through two filters.

    A block that ends with a full flush can be repeated without compressing it again.
    """
    packer = zlib.compressobj(9)
    start = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * 2**20) + packer.flush(zlib.Z_FULL_FLUSH)
    inner = start + block * 1024 + packer.flush()
    file = Pdf()
    content = file.stream(zlib.compress(inner, 9), b"/Filter [/FlateDecode /FlateDecode] ")
    return _finished(file, [content], b"")


def _finished(
    file: Pdf,
    contents: Sequence[int],
    resources: bytes,
    title: str = "",
    bookmarks: Sequence[tuple[int, str]] = (),
) -> bytes:
    tree = file.add(b"")
    kids = [
        file.add(
            b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << %s >> >>" % (tree, content, resources)
        )
        for content in contents
    ]
    names = b" ".join(b"%d 0 R" % kid for kid in kids)
    file.set(tree, b"<< /Type /Pages /Kids [%s] /Count %d >>" % (names, len(kids)))
    outlines = _outlines(file, [(kids[index], name) for index, name in bookmarks])
    root = file.add(b"<< /Type /Catalog /Pages %d 0 R %s>>" % (tree, outlines))
    info = file.add(b"<< /Title (%s) >>" % title.encode("cp1252"))
    return file.written(root=root, trailer=b"/Info %d 0 R " % info)


def _outlines(file: Pdf, bookmarks: Sequence[tuple[int, str]]) -> bytes:
    if not bookmarks:
        return b""
    tree = file.add(b"")
    first = tree + 1
    last = tree + len(bookmarks)
    for number, (page, name) in enumerate(bookmarks, first):
        following = b"/Next %d 0 R " % (number + 1) if number < last else b""
        file.add(
            b"<< /Title (%s) /Parent %d 0 R /Dest [%d 0 R /Fit] %s>>"
            % (name.encode("cp1252"), tree, page, following)
        )
    file.set(tree, b"<< /First %d 0 R /Last %d 0 R >>" % (first, last))
    return b"/Outlines %d 0 R " % tree


def _text(page: str) -> bytes:
    escaped = page.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    lines = escaped.encode("cp1252").split(b"\n")
    return (
        b"BT /F1 10 Tf 50 740 Td 12 TL " + b"".join(b"(%s) Tj T* " % line for line in lines) + b"ET"
    )
