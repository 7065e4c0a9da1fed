"""Tables as CSV (RFC 4180), which spreadsheets open without executing anything of it."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

MEDIA_TYPE = "text/csv"
_FORMULA = re.compile(r"(^|[;,|\t\r\n])([ \"']*)(?=[=+\-@\t\r\n＝＋－＠])")  # noqa: RUF001 # Excel takes them for those
"""Where a formula begins: in a cell, or after a cell separator of a locale, such as `;` in Spain.

OWASP, "CSV Injection".
"""


def csv_of(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns the table. What a spreadsheet would take for a formula follows a `'`."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return written.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return _FORMULA.sub(r"\1'\2", value) if isinstance(value, str) else value
