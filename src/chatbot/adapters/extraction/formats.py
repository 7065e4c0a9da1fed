"""The supported formats: media types, extensions, signatures of their bytes, and their readers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import PurePath

from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed

_OPENXML = "application/vnd.openxmlformats-officedocument."
LIBRARIES = ("pypdfium2", "python_calamine", "striprtf")
GENERAL_TYPES = frozenset({"", "application/octet-stream", "text/plain", "binary/octet-stream"})
"""Declared by programs that know no better: the extension decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format. `reader` is `module:function`, below this package."""

    media_type: str
    extensions: tuple[str, ...]
    reader: str
    aliases: tuple[str, ...] = ()
    signature: bytes = b""
    needs_extra: bool = False


def _archive(media_type: str, extension: str, reader: str) -> Format:
    return Format(
        media_type=media_type,
        extensions=(extension,),
        reader=reader,
        signature=b"PK\x03\x04",
        needs_extra=True,
    )


FORMATS = (
    Format(
        media_type="text/plain",
        extensions=("txt", "text", "log"),
        reader="plain_text:read_text",
    ),
    Format(
        media_type="text/markdown",
        extensions=("md", "markdown"),
        aliases=("text/x-markdown",),
        reader="plain_text:read_markdown",
    ),
    Format(
        media_type="text/html",
        extensions=("html", "htm"),
        aliases=("application/xhtml+xml",),
        reader="web_page:read_html",
    ),
    Format(
        media_type="text/csv",
        extensions=("csv", "tsv"),
        aliases=("text/tab-separated-values", "application/csv"),
        reader="tables:read_csv",
    ),
    Format(
        media_type="application/json",
        extensions=("json",),
        aliases=("text/json",),
        reader="json_text:read_json",
    ),
    Format(
        media_type="message/rfc822",
        extensions=("eml",),
        reader="mail:read_mail",
    ),
    Format(
        media_type="application/pdf",
        extensions=("pdf",),
        aliases=("application/x-pdf",),
        reader="pdf:read_pdf",
        signature=b"%PDF-",
        needs_extra=True,
    ),
    _archive(_OPENXML + "wordprocessingml.document", "docx", "word:read_docx"),
    _archive(_OPENXML + "presentationml.presentation", "pptx", "slides:read_pptx"),
    _archive(_OPENXML + "spreadsheetml.sheet", "xlsx", "workbook:read_xlsx"),
    _archive("application/vnd.oasis.opendocument.text", "odt", "open_document:read_odt"),
    Format(
        media_type="application/rtf",
        extensions=("rtf",),
        aliases=("text/rtf", "application/x-rtf"),
        reader="rich_text:read_rtf",
        signature=b"{\\rtf",
        needs_extra=True,
    ),
)
_BY_TYPE: Mapping[str, Format] = {
    name: known for known in FORMATS for name in (known.media_type, *known.aliases)
}
_BY_EXTENSION = {extension: known for known in FORMATS for extension in known.extensions}


def has_extra() -> bool:
    """Whether the libraries of the extra `documents` are installed."""
    return all(find_spec(name) for name in LIBRARIES)


def format_of(declared: str, name: str) -> Format:
    """Return the format of a declared media type, or else of the extension.

    Raises:
        ExtractionFailed: neither is known (`UNSUPPORTED`).
    """
    media_type = declared.partition(";")[0].strip().lower()
    found = _BY_TYPE.get(media_type)
    if media_type in GENERAL_TYPES:
        extension = PurePath(name).suffix.lower().removeprefix(".")
        found = _BY_EXTENSION.get(extension, found)
    if found is None:
        raise ExtractionFailed(FailureReason.UNSUPPORTED, f"Supported: {', '.join(_names())}.")
    return found


def _names() -> Iterator[str]:
    """Yields the extension of each format that can be read with what is installed."""
    can_read_all = has_extra()
    return (each.extensions[0] for each in FORMATS if can_read_all or not each.needs_extra)
