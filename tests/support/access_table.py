"""docs/access.md as data: how each call responds to each kind of caller."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs" / "access.md"
CALLERS = (
    *("no key", "wrong key", "no scope", "key", "owner", "end user", "colleague", "admin"),
    *("bad token", "disabled"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: `cell` is the first cell as written, `answers` are the others by caller."""

    cell: str
    answers: Mapping[str, str]

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
    def is_public(self) -> bool:
        return not self.answers["no key"].startswith("401")


def read_rows() -> list[Row]:
    """All rows of the table, in order."""
    text = FILE.read_text(encoding="utf-8")
    head, _, *lines = (_cells(line) for line in text.splitlines() if line.startswith("|"))
    if head != ["call", *CALLERS] or any(len(line) != len(head) for line in lines):
        raise ValueError(f"{FILE}: every line needs the columns call, {', '.join(CALLERS)}")
    return [
        Row(cell=cell, answers=dict(zip(CALLERS, cells, strict=True))) for cell, *cells in lines
    ]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split("|")]


ROWS = read_rows()
CALLS = [row for row in ROWS if row.route]
"""The rows about routes."""
OTHERS = {row.cell: row for row in ROWS if not row.route}
"""The rows about unknown paths and methods."""
