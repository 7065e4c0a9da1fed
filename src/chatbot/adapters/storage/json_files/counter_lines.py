"""Counters as one line with a checksum: their amounts by expiry."""

from collections.abc import Mapping
from datetime import datetime

from chatbot.adapters.storage.json_files.checksummed import decode_file, encode_line
from chatbot.adapters.storage.json_values import VERSION, JsonObject
from chatbot.domain.text import rfc3339

COUNTERS = "counters"
Amounts = dict[str, dict[datetime, int]]
"""Amounts by the name of their counter and their expiry."""


def decode_counters(raw: bytes) -> Amounts:
    """Read a line with its newline.

    Raises:
        Damaged: it was truncated or modified, or has a newer version.
    """
    document = decode_file(raw, COUNTERS)
    by_name = JsonObject(document.nested(COUNTERS), COUNTERS)
    return {name: _amounts(JsonObject(by_name.nested(name), COUNTERS)) for name in by_name.found}


def _amounts(held: JsonObject) -> dict[datetime, int]:
    return {JsonObject({"at": at}, COUNTERS).timestamp("at"): held.number(at) for at in held.found}


def encode_counters(amounts: Mapping[str, Mapping[datetime, int]]) -> bytes:
    """Write a line with its newline."""
    found = {
        name: {rfc3339(at): amount for at, amount in held.items()} for name, held in amounts.items()
    }
    return encode_line({"version": VERSION, COUNTERS: found})
