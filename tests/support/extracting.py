"""Reading files of tests, in this process or in one of their own."""

import io
from pathlib import Path

from chatbot.adapters.extraction import child
from chatbot.adapters.extraction.formats import format_of
from chatbot.adapters.extraction.subprocess_extractor import SubprocessExtractor
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import Extracted, ExtractionFailed

MAX_BYTES = 25 * 1024 * 1024


def read(name: str, content: bytes | str) -> tuple[str, list[tuple[str, str]]]:
    """Return the title and the sections of a file, read in this process."""
    raw = content.encode() if isinstance(content, str) else content
    known = format_of("", name)
    outline = child.read(io.BytesIO(raw), known.reader, known.signature)
    return outline.title, [(each.heading, each.text) for each in outline.sections()]


def text_of(name: str, content: bytes | str) -> str:
    return "\n\n".join(text for _, text in read(name, content)[1])


def failure(name: str, content: bytes | str) -> FailureReason | None:
    """Return why the reader of the file fails, in this process."""
    try:
        read(name, content)
    except ExtractionFailed as error:
        return error.reason
    return None


async def extract(
    folder: Path, name: str, content: bytes | str, media_type: str = "", **options: float | str
) -> Extracted:
    """Return what a process of its own extracts."""
    path = folder / "content"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    timeout_s, ocr = float(options.get("timeout_s", 60)), str(options.get("ocr_program", ""))
    extractor = SubprocessExtractor(max_bytes=MAX_BYTES, timeout_s=timeout_s, ocr_program=ocr)
    try:
        return await extractor.extract(path, media_type, name)
    finally:
        await extractor.aclose()


async def reason(
    folder: Path, name: str, content: bytes | str, media_type: str = ""
) -> FailureReason | None:
    """Return why a process of its own extracts nothing."""
    try:
        await extract(folder, name, content, media_type)
    except ExtractionFailed as error:
        return error.reason
    return None
