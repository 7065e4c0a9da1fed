"""Tables as CSV (RFC 4180), which spreadsheets open without executing anything of it."""

import csv
import io
from collections.abc import Iterable, Sequence

MEDIA_TYPE = "text/csv"
_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 # Excel takes them for those
"""OWASP, "CSV Injection"."""


def csv_of(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns the table. Texts that a spreadsheet would take for a formula begin with `'`."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return written.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.lstrip(" ").startswith(_BEGINS_A_FORMULA):
        return f"'{value}"
    return value
