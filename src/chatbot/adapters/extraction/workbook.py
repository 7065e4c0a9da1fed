"""Spreadsheets (xlsx): a section for each sheet; the values of formulas, not the formulas."""

from datetime import datetime
from typing import BinaryIO

from python_calamine import CalamineError, CalamineWorkbook, PasswordError

from chatbot.adapters.extraction.outline import Outline
from chatbot.adapters.extraction.package import Package, title_of
from chatbot.adapters.extraction.tables import add_table
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed


def read_xlsx(stream: BinaryIO, outline: Outline) -> None:
    package = Package(stream)
    package.require("xl/workbook.xml")
    package.check_all()
    outline.title = title_of(package, "docProps/core.xml")
    stream.seek(0)
    try:
        workbook = CalamineWorkbook.from_filelike(stream)
        for name in workbook.sheet_names:
            outline.heading(1, name)
            rows = workbook.get_sheet_by_name(name).iter_rows()
            add_table(([_text(value) for value in row] for row in rows), outline)
    except PasswordError as error:
        raise ExtractionFailed(FailureReason.ENCRYPTED) from error
    except CalamineError as error:
        raise ExtractionFailed(FailureReason.DAMAGED) from error


def _text(value: object) -> str:
    """Return a value as a person reads it: whole numbers without a decimal point, dates as ISO 8601."""
    if isinstance(value, datetime):
        return str(value.date()) if value.time() == datetime.min.time() else str(value)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value)
