"""Counters of a kind that is added to at every turn: a log for each day, a line for each addition.

A line holds counters as a file of counters does. It is not synced: after a power failure the last ones
may be missing or damaged, and those that are damaged do not count.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from chatbot.adapters.filesystem.atomic import exists, opened, put_unsynced, write_all
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.counter_lines import (
    Amounts,
    decode_counters,
    encode_counters,
)
from chatbot.adapters.storage.json_values import Damaged, log_damage
from chatbot.domain.ports.counters import PART_SEPARATOR, Addition

_LONG_BYTES, _MANY_LINES = 256 * 1024, 100
_FORM = re.compile(r"([0-9][0-9-]{0,31})\.log", re.ASCII)


def log_of(name: str) -> str:
    """Return the name of the file that holds this counter: by the first part, which is the day."""
    found = f"{name.partition(PART_SEPARATOR)[0]}.log"
    return found if is_counter_log(found) else "0.log"


def is_counter_log(file_name: str) -> bool:
    return _FORM.fullmatch(file_name) is not None


def may_hold(file_name: str, prefix: str) -> bool:
    """Whether a counter whose name begins so can be in this file."""
    return PART_SEPARATOR not in prefix or log_of(prefix) == file_name


def is_long(raw: bytes) -> bool:
    """Whether a log is to be written anew when it is read, with one line for all."""
    return len(raw) > _LONG_BYTES and raw.count(b"\n") > _MANY_LINES


def decode_log(path: Path, raw: bytes) -> Amounts:
    """Add up the lines of a log. What is wrong with one is logged."""
    amounts: Amounts = {}
    for line in filter(None, raw.split(b"\n")):
        try:
            found = decode_counters(line + b"\n")
        except Damaged as error:
            log_damage(path, error)
            continue
        for name, held in found.items():
            _add(amounts, name, held)
    return amounts


def append(files: Files, folder: Path, additions: Sequence[Addition]) -> None:
    """Append the amounts, a line to each file. Other writers are locked out, and the folder exists."""
    by_file: dict[str, Amounts] = {}
    for each in additions:
        amounts = by_file.setdefault(log_of(each.key.name), {})
        _add(amounts, each.key.name, {each.expires_at: each.amount})
    for name, amounts in by_file.items():
        path, line = folder / name, encode_counters(amounts)
        if exists(files, path):
            with opened(files, files.open_to_append(path)) as fd:
                write_all(files, fd, b"\n" + line)  # the line before may have been cut short
        else:
            put_unsynced(files, path, line)


def _add(amounts: Amounts, name: str, held: dict[datetime, int]) -> None:
    total = amounts.setdefault(name, {})
    for at, amount in held.items():
        total[at] = total.get(at, 0) + amount
