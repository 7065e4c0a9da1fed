"""The names of telemetry are exactly those of docs/telemetry.md."""

import re
from pathlib import Path
from types import ModuleType

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from chatbot.adapters.telemetry import names

PAGE = Path(__file__).resolve().parents[2] / "docs" / "telemetry.md"
NEWER = {"gen_ai.token.modality"}
"""Attributes that the installed constants do not have yet."""


def documented() -> str:
    return PAGE.read_text("utf-8")


def constants_of(module: ModuleType) -> set[str]:
    found = {name: value for name, value in vars(module).items() if name.isupper()}
    return {value for value in found.values() if isinstance(value, str)}


def used(prefix: str) -> set[str]:
    """The values of the constants that begin with a prefix of a dotted name."""
    return {value for value in constants_of(names) if value.startswith(prefix)}


def test_page_lists_every_metric_with_its_kind_and_unit() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \| `(\S+)` \|", documented(), re.MULTILINE)
    metrics = (*names.OWN, *names.V1_41.all, *names.LATEST.all)

    assert rows == [(metric.name, metric.kind, metric.unit) for metric in metrics]


def test_page_lists_every_span() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (?:server|internal|client) \|", documented(), re.MULTILINE)
    spans = {value for name, value in vars(names).items() if name.startswith("SPAN_")}

    assert set(rows) == {*spans, "{method} {route}", "chat {model}"}


def test_page_names_every_attribute() -> None:
    written = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", documented()))
    dotted = (
        used("gen_ai.") | used("http.") | used("url.") | used("server.") | used("error.")
    ) | used("chatbot.")

    assert dotted <= written


def test_attributes_and_metrics_are_those_of_the_conventions() -> None:
    attributes, metrics = constants_of(gen_ai_attributes), constants_of(gen_ai_metrics)

    assert used("gen_ai.") - NEWER <= attributes
    assert {metric.name for metric in names.V1_41.all} <= metrics
