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
        description="The day, or the id of the user, the department, role, client or model; empty for "
        "what no user, department or role has used."
    )
    requests: int = Field(
        description="Requests to the model: a turn may need several, and memory needs its own."
    )
    turns: int = Field(description="Questions to the assistant.")
    input_tokens: int = Field(description="Tokens of prompts.")
    output_tokens: int = Field(description="Tokens of answers.")
    estimated: bool = Field(
        description="Whether some of the tokens are estimated: the provider did not count them, or the "
        "answer was cut off."
    )


class UsageAnswer(Answer):
    model_config = example(
        {"from": "2026-01-01", "to": "2026-01-31", "by": "department", "rows": [_ROW]}
    )

    since: date = Field(serialization_alias="from", description="The first day.")
    until: date = Field(serialization_alias="to", description="The last day, which is included.")
    by: Dimension = Field(description="What the keys are.")
    rows: list[UsageRowAnswer] = Field(description="By key. A user counts for each role.")

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
