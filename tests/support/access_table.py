"""docs/access.md as data: how each call responds to each kind of caller."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs" / "access.md"
CALLERS = (
    *("no key", "wrong key", "no scope", "key", "owner", "end user", "colleague"),
    *("admin", "department admin", "other department", "auditor", "data protection"),
    *("one-time", "bad token", "disabled"),
)
_THE_OTHERS = {"everyone", "everyone else"}
Line = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: `cell` is the first cell as written, `answers` is what each caller gets."""

    cell: str
    answers: Mapping[str, str]
    cells: Line
    """The other cells as written."""

    @property
    def route(self) -> str:
        """`METHOD /path`; empty in rows about unknown paths and methods."""
        found = re.match(r"`([A-Z]+ /[^`]*)`", self.cell)
        return found[1] if found else ""

    @property
    def path(self) -> str:
        return self.route.partition(" ")[2]

    @property
    def is_about_a_session(self) -> bool:
        return "{session_id}" in self.cell

    @property
    def is_about_a_person(self) -> bool:
        return "{user_id}" in self.cell

    @property
    def is_about_a_document(self) -> bool:
        return "{document_id}" in self.cell

    @property
    def is_public(self) -> bool:
        return not self.answers["no key"].startswith("401")


def rows_of(text: str) -> list[Row]:
    """The rows of all tables, in order.

    A column is for the kinds of callers in its head, or for all those that the others do not name.
    """
    grouped = groupby(text.splitlines(), key=lambda line: line.startswith("|"))
    return [row for is_table, lines in grouped if is_table for row in _rows([*map(_cells, lines)])]


def _rows(lines: Sequence[Line]) -> Iterator[Row]:
    (_, *head), _, *others = lines
    columns = _columns(head)
    for cell, *cells in others:
        if len(cells) != len(columns):
            raise ValueError(f"{FILE.name}: {cell} has {len(cells)} answers, not {len(columns)}")
        found = {
            caller: answer
            for callers, answer in zip(columns, cells, strict=True)
            for caller in callers
        }
        yield Row(cell=cell, answers={caller: found[caller] for caller in CALLERS}, cells=cells)


def _columns(head: Line) -> list[list[str]]:
    """The callers of each column; each kind of caller is in exactly one."""
    named = {caller for name in head for caller in name.split(", ")}
    others = [caller for caller in CALLERS if caller not in named]
    columns = [others if name in _THE_OTHERS else name.split(", ") for name in head]
    if sorted(caller for column in columns for caller in column) != sorted(CALLERS):
        raise ValueError(f"{FILE.name}: a table is not about each of {', '.join(CALLERS)} once")
    return columns


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split("|")]


ROWS = rows_of(FILE.read_text(encoding="utf-8"))
CALLS = [row for row in ROWS if row.route]
"""The rows about routes."""
OTHERS = {row.cell: row for row in ROWS if not row.route}
"""The rows about unknown paths and methods."""
