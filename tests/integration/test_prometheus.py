"""The shipped dashboard and alert rules, against a real Prometheus that scrapes a real service."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nginx import free_ports
from process import Running, running, with_provider
from programs import program
from prometheus import DEPLOY, Prometheus, prometheus
from provider import FakeProvider, Fault
from service import SSE

if sys.platform != "linux":
    pytest.skip("the package is Debian's", allow_module_level=True)

ALERTS = DEPLOY / "alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
PANELS = DASHBOARD["panels"]
VARIABLES = {"$__rate_interval": "1m", "$job": "chatbot", "$instance": ".*"}
FAULTS = """\
rule_files: ["{rules}"]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'up{{{who}}}', values: "1x10 0x30"}}
      - {{series: 'http_server_request_duration_seconds_count{{{who}, http_response_status_code="200"}}', values: "0+100x40"}}
      - {{series: 'http_server_request_duration_seconds_count{{{who}, http_response_status_code="503"}}', values: "0x10 10+10x29"}}
      - {{series: 'chatbot_turns_total{{{who}, state="complete"}}', values: "0+60x40"}}
      - {{series: 'chatbot_turns_total{{{who}, state="upstream"}}', values: "0x10 40+40x29"}}
      - {{series: 'chatbot_storage_transaction_duration_seconds_bucket{{{who}, le="0.5"}}', values: "0+100x10 1000x29"}}
      - {{series: 'chatbot_storage_transaction_duration_seconds_bucket{{{who}, le="1"}}', values: "0+100x40"}}
      - {{series: 'chatbot_storage_transaction_duration_seconds_bucket{{{who}, le="+Inf"}}', values: "0+100x40"}}
    promql_expr_test:
"""
"""Everything fails from minute 11 on."""
EXPECTED = """\
      - expr: count(ALERTS{{alertname="{name}", alertstate="firing"}})
        eval_time: {minute}m
        exp_samples: {samples}
"""


def names_in(expression: str) -> set[str]:
    """The metrics that an expression reads."""
    return set(re.findall(r"\b(?:chatbot|gen_ai_client|http_server)_\w+(?=\{)", expression))


def alert_names() -> list[str]:
    return re.findall(r"- alert: (\w+)", ALERTS.read_text("utf-8"))


def promtool(*arguments: str) -> None:
    run = subprocess.run(
        [program("promtool", "prometheus"), *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_promtool_accepts_the_four_alert_rules() -> None:
    promtool("check", "rules", str(ALERTS))
    assert len(alert_names()) == 4


def test_each_alert_is_silent_before_its_fault_and_fires_during_it(tmp_path: Path) -> None:
    text = FAULTS.format(rules=ALERTS, who='job="chatbot", instance="a"')
    for name in alert_names():
        text += EXPECTED.format(name=name, minute=10, samples="[]")
        text += EXPECTED.format(name=name, minute=38, samples="[{labels: '{}', value: 1}]")
    file = tmp_path / "test.yml"
    file.write_text(text, "utf-8")
    promtool("test", "rules", str(file))


def test_each_alert_names_a_section_that_says_what_to_do() -> None:
    page = (DEPLOY.parent / "docs" / "telemetry.md").read_text("utf-8")
    runbooks = re.findall(r"runbook: docs/telemetry.md#(\w+)", ALERTS.read_text("utf-8"))
    assert runbooks == [name.lower() for name in alert_names()]
    assert set(alert_names()) <= set(re.findall(r"^### (\w+)", page, re.MULTILINE))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_each_panel_reads_metrics_of_the_service(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert names_in(target["expr"]), target["expr"]


async def use(service: Running, upstream: FakeProvider) -> None:
    """Give every metric something to count: turns, streams, retries, refusals, waits, log-ins."""
    client, chat = service.client, {"prompt": "I am Ana. Remember that."}
    for headers in ({}, SSE):
        await client.post("/chat", json=chat, headers=headers)
    session = (await client.post("/sessions/new")).json()["session_id"]
    both = (client.post("/chat", json={**chat, "session_id": session}) for _ in range(2))
    await asyncio.gather(*both)
    await client.get("/sessions", headers={"X-API-Key": "wrong"})
    login = {"email": "nobody@example.com", "password": "not the right password"}
    await client.post("/auth/login", json=login)
    upstream.fault = Fault.UNAVAILABLE
    await client.post("/chat", json=chat)
    upstream.fault = None


async def test_each_panel_answers_after_scrapes_of_a_running_service(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with FakeProvider() as upstream:
        upstream.piece_delay_s = 0.01  # chunks that arrive together are one
        environment = {
            **with_provider(upstream),
            "METRICS_PORT": str(port),
            "MEM_STRUCTURED_ENABLE": "true",
            "STORAGE_URL": "json:data",
        }
        async with (
            running(tmp_path, **environment) as service,
            prometheus(tmp_path, port) as server,
        ):
            for _ in range(2):  # a rate needs two scrapes
                await use(service, upstream)
                await asyncio.sleep(2.5)
            empty = [panel["title"] for panel in PANELS if not await answers(server, panel)]
            rules = await server.get("rules")
    assert empty == []
    states = [rule["health"] for group in rules["groups"] for rule in group["rules"]]
    assert states == ["ok"] * 4


async def answers(server: Prometheus, panel: dict[str, Any]) -> bool:
    """Whether each of the panel's queries returns a number."""
    for target in panel["targets"]:
        expression = target["expr"]
        for name, value in VARIABLES.items():
            expression = expression.replace(name, value)
        found = await server.answer(expression)
        if not any(series["value"][1] != "NaN" for series in found):
            return False
    return True
