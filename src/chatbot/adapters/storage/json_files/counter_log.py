"""Counters of a kind that is added to at every turn: a log for each day, a line for each addition.

A line holds counters as a file of counters does. It is not synced: after a power failure, the last
lines may be missing or damaged, and damaged lines do not count.
"""

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from chatbot.adapters.filesystem.atomic import (
    exists,
    make_durable_folder,
    opened,
    put,
    put_unsynced,
    read,
    write_all,
)
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.in_memory.counters import CounterTable
from chatbot.adapters.storage.json_files.counter_lines import (
    Amounts,
    decode_counters,
    encode_counters,
)
from chatbot.adapters.storage.json_values import Damaged, log_damage
from chatbot.domain.ports.counters import (
    PART_SEPARATOR,
    Addition,
    Count,
    CounterKey,
    names_with_part,
)

_LONG_BYTES, _MANY_LINES = 256 * 1024, 100
_FORM = re.compile(r"([0-9][0-9-]{0,31})\.log", re.ASCII)


def log_of(name: str) -> str:
    """Return the name of the file that holds this counter: by the first part, which is the day."""
    return _log_of_day(name.partition(PART_SEPARATOR)[0])


@lru_cache
def _log_of_day(day: str) -> str:
    found = f"{day}.log"
    return found if is_counter_log(found) else "0.log"


def is_counter_log(file_name: str) -> bool:
    return _FORM.fullmatch(file_name) is not None


def may_hold(file_name: str, prefix: str) -> bool:
    """Whether a counter with this name prefix can be in this file."""
    return PART_SEPARATOR not in prefix or log_of(prefix) == file_name


class CounterLogs:
    """The logs in the folders of their kinds; `locked` keeps other writers of a kind out."""

    def __init__(
        self, root: Path, files: Files, locked: Callable[[str], AbstractContextManager[None]]
    ) -> None:
        self._root, self._files, self._locked = root, files, locked

    def append(self, additions: Sequence[Addition]) -> None:
        """Append the amounts, a line to each file; the locks are held."""
        by_file: dict[tuple[str, str], Amounts] = {}
        for each in additions:
            amounts = by_file.setdefault((each.key.kind, log_of(each.key.name)), {})
            _add(amounts, each.key.name, {each.expires_at: each.amount})
        for (kind, file_name), amounts in by_file.items():
            path = self._root / kind / file_name
            line = encode_counters(amounts)
            try:
                with opened(self._files, self._files.open_to_append(path)) as fd:
                    write_all(self._files, fd, b"\n" + line)  # that before may have been cut short
            except FileNotFoundError:
                make_durable_folder(self._files, path.parent)
                put_unsynced(self._files, path, line)

    def read(self, key: CounterKey, now: datetime) -> Sequence[Count]:
        return self._table(self._path(key)).read(key.name, now)

    def scan(self, kind: str, prefixes: Sequence[str], now: datetime) -> dict[str, int]:
        found = dict[str, int]()
        for path in self.paths(kind):
            if any(may_hold(path.name, prefix) for prefix in prefixes):
                found |= self._tidied(path, now).totals(prefixes, now)
        return found

    def clear(self, key: CounterKey) -> None:
        """Empty a counter; the lock is held."""
        self._change(key, lambda table: table.clear(key.name))

    def subtract(self, reserved: Addition) -> None:
        """Subtract an amount, down to zero; the lock is held."""
        key, at, amount = reserved.key, reserved.expires_at, reserved.amount
        self._change(key, lambda table: table.subtract(key.name, at, amount))

    def _change(self, key: CounterKey, change: Callable[[CounterTable], None]) -> None:
        table = self._table(path := self._path(key))
        if key.name in table.amounts:
            change(table)
            put_unsynced(self._files, path, encode_counters(table.amounts))

    def erase(self, path: Path, part: str) -> list[str]:
        """Remove the counters with this part from a log; returns their names. The lock is held."""
        table = self._table(path)
        names = names_with_part(table.amounts, part)
        if table.erase(part):
            put(self._files, path, encode_counters(table.amounts))
        return names

    def paths(self, kind: str) -> list[Path]:
        folder = self._root / kind
        names = self._files.listdir(folder) if exists(self._files, folder) else []
        return [folder / name for name in sorted(names) if is_counter_log(name)]

    def _tidied(self, path: Path, now: datetime) -> CounterTable:
        """Returns the counters of a log.

        A long log is compacted, and an expired one removed. The lock is held only while it is
        replaced by the compacted lines, followed by those that were added in the meantime.
        """
        raw = read(self._files, path)
        table = _table(path, raw)
        has_expired = not table.totals([""], now)
        if has_expired or (len(raw) > _LONG_BYTES and raw.count(b"\n") > _MANY_LINES):
            with self._locked(path.parent.name):
                newest = read(self._files, path)
                if has_expired and newest == raw:
                    self._files.remove(path)
                elif newest.startswith(raw):
                    rest = newest.removeprefix(raw)
                    put_unsynced(self._files, path, encode_counters(table.amounts) + rest)
        return table

    def _table(self, path: Path) -> CounterTable:
        try:
            return _table(path, read(self._files, path))
        except FileNotFoundError:
            return _table(path, b"")

    def _path(self, key: CounterKey) -> Path:
        return self._root / key.kind / log_of(key.name)


def _table(path: Path, raw: bytes) -> CounterTable:
    """Add up the lines of a log. Damaged lines are logged."""
    amounts: Amounts = {}
    for line in filter(None, raw.split(b"\n")):
        try:
            found = decode_counters(line + b"\n")
        except Damaged as error:
            log_damage(path, error)
            continue
        for name, held in found.items():
            _add(amounts, name, held)
    return CounterTable(path.parent.name, amounts, max_names=sys.maxsize)


def _add(amounts: Amounts, name: str, held: dict[datetime, int]) -> None:
    total = amounts.setdefault(name, {})
    for at, amount in held.items():
        total[at] = total.get(at, 0) + amount
