"""An extractor without a process of its own: lines with `#` are headings, the rest is text."""

import asyncio
from pathlib import Path

from chatbot.domain.extraction import SECTION_SEPARATOR, FailureReason
from chatbot.domain.passages import Section, split
from chatbot.domain.ports.extraction import Extracted, ExtractionFailed, Extractor

BROKEN = b"%broken%"
"""A file with these bytes cannot be read."""


class PlainExtractor(Extractor):
    """Reads texts. With `pause`, it waits until `go_on` is set."""

    def __init__(self) -> None:
        self.pause = False
        self.go_on = asyncio.Event()
        self.begun = 0

    def media_type_of(self, declared: str, name: str) -> str:
        if declared.startswith("image/") or name.endswith(".exe"):
            raise ExtractionFailed(FailureReason.UNSUPPORTED)
        return declared or "text/markdown"

    async def extract(self, path: Path, media_type: str, name: str) -> Extracted:
        self.begun += 1
        if self.pause:
            await self.go_on.wait()
        raw = await asyncio.to_thread(path.read_bytes)
        if not raw.strip():
            raise ExtractionFailed(FailureReason.EMPTY)
        if BROKEN in raw:
            raise ExtractionFailed(FailureReason.DAMAGED)
        return Extracted(
            media_type=media_type, title="", passages=list(split(_sections(raw.decode())))
        )


def _sections(text: str) -> list[Section]:
    found: list[Section] = []
    at, heading = 0, ""
    for block in text.split("\n\n"):
        if block.startswith("#"):
            heading = block.lstrip("# ")
        if not block.strip():
            continue
        found.append(Section(heading=heading, text=block, start=at))
        at += len(block) + len(SECTION_SEPARATOR)
    return found
