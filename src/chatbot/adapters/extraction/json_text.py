"""JSON: a heading for each name with structure below it, a row for each object of plain values."""

import json
from typing import BinaryIO

from chatbot.adapters.extraction.charset import decode
from chatbot.adapters.extraction.outline import Outline
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed

_DEEPEST = 64


def read_json(stream: BinaryIO, outline: Outline) -> None:
    try:
        value = json.loads(decode(stream.read()), parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise ExtractionFailed(FailureReason.DAMAGED) from error
    if isinstance(value, dict) and isinstance(value.get("title"), str):
        outline.title = value["title"]
    _add(value, 1, outline)


def _add(value: object, depth: int, outline: Outline) -> None:
    if depth > _DEEPEST:
        raise ExtractionFailed(FailureReason.ARCHIVE_BOUNDS)
    if isinstance(value, dict):
        _add_object(value, depth, outline)
    elif isinstance(value, list):
        for inner in value:
            _add(inner, depth + 1, outline)
    else:
        outline.row([_text(value)])


def _add_object(value: dict[str, object], depth: int, outline: Outline) -> None:
    """Add the plain values as one row, then what has a structure, each under its name."""
    nested = {name: inner for name, inner in value.items() if isinstance(inner, dict | list)}
    plain = [f"{name}: {_text(value[name])}" for name in value if name not in nested]
    outline.row(plain or [""])
    for name, inner in nested.items():
        outline.heading(depth, name)
        _add(inner, depth + 1, outline)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
