"""Plain text and Markdown."""

import re
from typing import BinaryIO

from chatbot.adapters.extraction.charset import decode
from chatbot.adapters.extraction.outline import Outline

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*)")
_CLOSING = re.compile(r"[ \t]#+[ \t]*\Z")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*\Z")
_PLAIN_LINE = re.compile(r" {0,3}[^\s>|+*-][^|]*\Z")
"""A line that a line of `=` or `-` below makes a heading: it is not part of a list or a table."""
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_LONGEST_LINE = 500


def read_text(stream: BinaryIO, outline: Outline) -> None:
    outline.paragraph(decode(stream.read()))


def read_markdown(stream: BinaryIO, outline: Outline) -> None:
    """Read a Markdown file as it is written, except for its headings and its front matter."""
    lines = decode(stream.read()).split("\n")
    block: list[str] = []
    fence = ""
    for line in lines[_front_matter(lines, outline) :]:
        heading = None if fence else _heading(line, block)
        fence = _fence_after(line, fence)
        if heading is None:
            block.append(line)
            continue
        outline.paragraph("\n".join(block))
        block = []
        _add_heading(outline, *heading)
    outline.paragraph("\n".join(block))


def _front_matter(lines: list[str], outline: Outline) -> int:
    """Return the number of lines of the front matter; its title becomes the outline's."""
    if lines[0].strip() != "---":
        return 0
    for number, line in enumerate(lines[1:200], 2):
        name, _, value = line.partition(":")
        if name == "title":
            outline.title = value.strip().strip("\"'")
        if line.strip() in ("---", "..."):
            return number
    outline.title = ""
    return 0


def _heading(line: str, block: list[str]) -> tuple[int, str] | None:
    """Return the level and the text of the heading that ends with this line.

    The text of an underlined heading is taken from the block.
    """
    if len(line) > _LONGEST_LINE:
        return None
    if found := _HEADING.fullmatch(line):
        return len(found[1]), _CLOSING.sub("", found[2]).strip()
    underline = _UNDERLINE.fullmatch(line)
    if underline and block and _PLAIN_LINE.match(block[-1]) and not "".join(block[-2:-1]).strip():
        return (1 if underline[1].startswith("=") else 2), block.pop().strip()
    return None


def _fence_after(line: str, fence: str) -> str:
    """Return the mark that closes the block of code around the next line, or an empty string."""
    found = _FENCE.match(line)
    if found is None:
        return fence
    if not fence:
        return found[1]
    closes = found[1].startswith(fence) and line.strip() == found[1]
    return "" if closes else fence


def _add_heading(outline: Outline, level: int, text: str) -> None:
    if level == 1 and not outline.title:
        outline.title = text
    outline.heading(level, text)
