"""`chatbot doctor` on the collector of traces and metrics."""

import asyncio
import os
from pathlib import Path

import pytest

from chatbot.entrypoints.commands.doctor import examine
from otlp import receiver
from provider import closed_port_url
from service import API_KEY, JWT_SECRET

HEADERS = "authorization=Basic%20c2VjcmV0"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("API_KEY", API_KEY)
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "chatbot")  # so that it is set back


async def said() -> str:
    findings = await asyncio.to_thread(lambda: [str(one) for one in examine()])
    [line] = [one for one in findings if one[6:].startswith("telemetry: ")]
    return line


async def test_telemetry_that_is_off_is_named() -> None:
    assert await said() == "ok    telemetry: off"


@pytest.mark.parametrize("exporter", ["TRACES", "METRICS"])
async def test_collector_that_answers_is_named(
    monkeypatch: pytest.MonkeyPatch, exporter: str
) -> None:
    async with receiver() as received:
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{exporter}_ENDPOINT", f"{received.url}/v1/x")
        assert await said() == "ok    telemetry: the collector accepts the exported data"
    assert received.bodies == [b""]


async def test_collector_that_cannot_be_reached_fails_without_its_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", closed_port_url())
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", HEADERS)
    line = await said()
    assert line.startswith("FAIL  telemetry: the collector does not accept the exported data: ")
    assert line.endswith("Fix: check OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS")
    assert "c2VjcmV0" not in line
