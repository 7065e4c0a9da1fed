"""Schemas of usage."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Self

from pydantic import Field

from chatbot.application.usage import UsageReport
from chatbot.domain.usage import Dimension
from chatbot.entrypoints.http.schemas.base import Answer, Json, example

_ROW: Json = {
    "key": "sales",
    "requests": 57,
    "turns": 41,
    "input_tokens": 48_210,
    "output_tokens": 9_377,
    "estimated": False,
}
HEADER = tuple(_ROW)
CSV_EXAMPLE = (
    "key,requests,turns,input_tokens,output_tokens,estimated\r\nsales,57,41,48210,9377,false\r\n"
)


class UsageRowAnswer(Answer):
    model_config = example(_ROW)

    key: str = Field(
        description="The day, the id of the user, or the name of the department, role, client or model. "
        "Empty for usage without a user, department or role."
    )
    requests: int = Field(
        description="The number of model requests. A turn may need several; memory makes its own."
    )
    turns: int = Field(description="The number of questions to the assistant.")
    input_tokens: int = Field(description="The number of tokens in prompts.")
    output_tokens: int = Field(description="The number of tokens in answers.")
    estimated: bool = Field(
        description="Whether some of the tokens are estimates, because the provider did not report them or "
        "the answer was cut off."
    )


class UsageAnswer(Answer):
    model_config = example(
        {"from": "2026-01-01", "to": "2026-01-31", "by": "department", "rows": [_ROW]}
    )

    since: date = Field(serialization_alias="from", description="The first day.")
    until: date = Field(serialization_alias="to", description="The last day (inclusive).")
    by: Dimension = Field(description="What the rows are grouped by.")
    rows: list[UsageRowAnswer] = Field(
        description="The rows, sorted by key. A user with several roles counts for each of them."
    )

    @classmethod
    def of(cls, report: UsageReport) -> Self:
        return cls(since=report.since, until=report.until, by=report.by, rows=list(_rows(report)))

    def cells(self) -> Iterator[Sequence[object]]:
        """Yield the rows of a table with the columns of `HEADER`."""
        for row in self.rows:
            yield [getattr(row, column) for column in HEADER]


def _rows(report: UsageReport) -> Iterator[UsageRowAnswer]:
    for key, used in report.rows.items():
        yield UsageRowAnswer(
            key=key,
            requests=used.requests,
            turns=used.turns,
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            estimated=used.estimated_tokens > 0,
        )
