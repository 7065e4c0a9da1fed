"""Rich text (rtf)."""

from typing import BinaryIO

from striprtf.striprtf import rtf_to_text

from chatbot.adapters.extraction.outline import Outline

_CELL_END = "|"


def read_rtf(stream: BinaryIO, outline: Outline) -> None:
    text = rtf_to_text(stream.read().decode("latin-1"), encoding="cp1252", errors="ignore")
    for line in text.replace("\xad", "").split("\n"):
        if line.rstrip().endswith(_CELL_END):
            outline.row(line.strip().removesuffix(_CELL_END).split(_CELL_END))
        else:
            outline.paragraph(line)
