"""A running service with telemetry: what it sends by OTLP, what `METRICS_PORT` answers, its logs."""

import json
import os
import re
import socket
import sys
import time
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from chatbot.adapters.telemetry.service import CLOSES_WITHIN_S
from nginx import free_ports
from otlp import Received, receiver
from process import Running, running, with_provider
from provider import FakeProvider, Fault

PROMPT = {"prompt": "Hello"}
STREAM = {"Accept": "text/event-stream"}
SERVER, CLIENT = 2, 3  # OTLP's numbers
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@dataclass(frozen=True, kw_only=True)
class World:
    service: Running
    upstream: FakeProvider
    received: Received
    metrics_url: str

    async def metrics(self) -> str:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(self.metrics_url)
        assert answer.status_code == 200
        return answer.text

    async def value(self, series: str) -> float:
        """The value of a series, as `name{label="value"}`."""
        found = re.search(rf"^{re.escape(series)} (\S+)$", await self.metrics(), re.MULTILINE)
        assert found is not None, series
        return float(found[1])

    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.service.log.read_text("utf-8").splitlines()]


@asynccontextmanager
async def world(folder: Path, **environment: str) -> AsyncGenerator[World]:
    (port,) = free_ports(1)
    async with FakeProvider() as upstream, receiver() as received:
        given = {
            "STORAGE_URL": "memory:",
            "METRICS_PORT": str(port),
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_METRIC_EXPORT_INTERVAL": "100",
            **with_provider(upstream),
            **environment,
        }
        async with running(folder, **given) as service:
            yield World(
                service=service,
                upstream=upstream,
                received=received,
                metrics_url=f"http://127.0.0.1:{port}/metrics",
            )


async def test_turn_is_one_trace_of_request_transactions_prompt_and_model(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        answer = await w.service.answer("POST", "/chat", json=PROMPT)

        request = await w.received.span("POST /chat")
        spans = [s for s in w.received.spans if s.trace_id == request.trace_id]
        assert {span.name for span in spans} == {
            "POST /chat",
            "chat fake-model",
            "prompt.build",
            "storage.transaction",
        }
        stored = {span.attributes.get("chatbot.storage.operation") for span in spans}
        assert {"transact", "store_answer"} <= stored
        assert {span.parent_id for span in spans} == {"", request.span_id}
        assert request.kind == SERVER
        assert request.attributes == {
            "http.request.method": "POST",
            "http.route": "/chat",
            "http.response.status_code": 200,
            "url.path": "/chat",
            "url.scheme": "http",
        }
        assert w.received.resources[0]["service.name"] == "chatbot"
        assert answer["text"] == "You said: Hello"


async def test_model_call_is_reported_by_the_conventions(tmp_path: Path) -> None:
    async with world(tmp_path, MODEL_TEMPERATURE="0.5") as w:
        answer = await w.service.client.post("/chat", json=PROMPT, headers=STREAM)

        call = await w.received.span("chat fake-model")
        assert call.kind == CLIENT
        attributes = dict(call.attributes)
        assert 0 < attributes.pop("gen_ai.response.time_to_first_chunk") < 20
        session = re.search(r'"session_id":"(\w+)"', answer.text)
        assert session is not None
        assert attributes == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.conversation.id": session[1],
            "gen_ai.request.model": "fake-model",
            "gen_ai.request.max_tokens": 1024,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.stream": True,
            "gen_ai.output.type": "text",
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.usage.input_tokens": attributes["gen_ai.usage.input_tokens"],
            "gen_ai.usage.output_tokens": attributes["gen_ai.usage.output_tokens"],
            "server.address": "127.0.0.1",
            "server.port": int(w.upstream.base_url.split(":")[2].split("/")[0]),
        }
        labels = (
            'gen_ai_operation_name="chat",gen_ai_provider_name="openai",'
            'gen_ai_request_model="fake-model",server_address="127.0.0.1",'
            f'server_port="{attributes["server.port"]}"'
        )
        for name in ("duration", "time_to_first_chunk"):
            series = f"gen_ai_client_operation_{name}_seconds_count{{{labels}}}"
            assert await w.value(series) == 1
        for kind in ("input", "output"):
            with_type = labels.replace(
                ",server_address", f',gen_ai_token_type="{kind}",server_address'
            )
            counted = await w.value(f"gen_ai_client_token_usage_sum{{{with_type}}}")
            assert counted == attributes[f"gen_ai.usage.{kind}_tokens"] > 0


async def test_newer_names_replace_the_older_ones_on_request(tmp_path: Path) -> None:
    opt_in = "http, gen_ai_latest_experimental"
    async with world(tmp_path, OTEL_SEMCONV_STABILITY_OPT_IN=opt_in) as w:
        await w.service.answer("POST", "/chat", json=PROMPT)
        found = await w.metrics()
    assert "gen_ai_client_inference_duration_seconds_count{" in found
    assert "gen_ai_client_inference_usage_input_tokens_total{" in found
    assert "gen_ai_client_operation" not in found


async def test_turns_are_counted_by_how_they_ended(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.service.answer("POST", "/chat", json=PROMPT)
        w.upstream.fault = Fault.DROP
        failed = await w.service.client.post("/chat", json=PROMPT, headers=STREAM)
        assert "event: error" in failed.text
        assert await w.value('chatbot_turns_total{state="complete"}') == 1
        assert await w.value('chatbot_turns_total{state="upstream"}') == 1
        assert await w.value('chatbot_turns_total{state="client"}') == 0
        assert await w.value("chatbot_turns_active") == 0
        calls = [await w.received.span("chat fake-model"), *w.received.named("chat fake-model")]
        assert {c.attributes.get("error.type") for c in calls} >= {"ModelError"}


async def test_retries_of_the_provider_are_counted(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.upstream.fault = Fault.UNAVAILABLE
        answer = await w.service.client.post("/chat", json=PROMPT)
        assert answer.status_code == 503
        assert await w.value("chatbot_model_retries_total") == 2
        request = await w.received.span("POST /chat")
        assert (request.is_error, request.attributes["error.type"]) == (True, "503")
        call = await w.received.span("chat fake-model")
        assert (call.is_error, call.attributes["error.type"]) == (True, "503")


async def test_wrong_credentials_are_counted_by_their_error_code(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for key in ("wrong", "wrong-too"):
            await w.service.client.get("/sessions", headers={"X-API-Key": key})
        await w.service.client.get("/sessions", headers={"Authorization": "Bearer forged"})
        assert await w.value('chatbot_auth_failures_total{reason="invalid_api_key"}') == 2
        assert await w.value('chatbot_auth_failures_total{reason="invalid_token"}') == 1


async def test_log_lines_of_a_request_name_its_trace(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.service.answer("POST", "/chat", json=PROMPT)
        request = await w.received.span("POST /chat")
        (line,) = (line for line in w.log() if line.get("route") == "/chat")
    assert (line["trace_id"], line["span_id"]) == (request.trace_id, request.span_id)


async def test_metrics_are_also_sent_by_otlp(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.service.answer("POST", "/chat", json=PROMPT)
        await w.received.span("POST /chat")
        w.service.process.terminate()
        assert await w.service.process.wait() == 0
        assert {"chatbot.turns", "chatbot.turns.active"} <= w.received.metrics


async def test_metrics_port_answers_for_all_workers(tmp_path: Path) -> None:
    async with world(tmp_path, STORAGE_URL="json:data", WORKERS="2") as w:
        for _ in range(4):
            await w.service.answer("POST", "/chat", json=PROMPT)
        found = await w.metrics()
        counts = re.findall(
            r'^chatbot_turns_total\{state="complete",worker="(\d)"\} (\S+)$', found, re.MULTILINE
        )
    assert sorted(worker for worker, _ in counts) == ["0", "1"]
    assert sum(float(count) for _, count in counts) == 4
    assert found.count("# TYPE chatbot_turns_total counter") == 1


async def test_metrics_port_has_nothing_else(tmp_path: Path) -> None:
    async with world(tmp_path) as w, httpx.AsyncClient(trust_env=False) as client:
        base = w.metrics_url.removesuffix("/metrics")
        assert [(await client.get(base + path)).status_code for path in ("/", "/chat")] == [404] * 2


async def test_stop_does_not_wait_for_a_collector_that_is_silent(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with world(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url) as w:
            await w.service.answer("POST", "/chat", json=PROMPT)
            w.service.process.terminate()
            began = time.monotonic()
            assert await w.service.process.wait() == 0
    assert time.monotonic() - began < 2 * CLOSES_WITHIN_S


@pytest.mark.parametrize("proxies", ["127.0.0.1", "10.0.0.0/8"])
async def test_trace_is_continued_only_from_a_trusted_proxy(tmp_path: Path, proxies: str) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Forwarded-For": "203.0.113.7"}
    async with world(tmp_path, TRUSTED_PROXIES=proxies) as w:
        await w.service.client.post("/chat", json=PROMPT, headers=headers)
        request = await w.received.span("POST /chat")
    is_continued = (request.trace_id, request.parent_id) == (TRACE, PARENT)
    assert is_continued == (proxies == "127.0.0.1")
    assert is_continued or (request.trace_id != TRACE and request.parent_id == "")


async def test_trace_of_a_caller_is_ignored_without_a_trusted_proxy(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        await w.service.client.post("/chat", json=PROMPT, headers=headers)
        request = await w.received.span("POST /chat")
    assert request.trace_id != TRACE


async def test_sdk_is_not_used_while_telemetry_is_off(tmp_path: Path) -> None:
    """Genkit itself imports a part of the SDK; nothing of ours adds to that."""
    program = tmp_path / "off.py"
    program.write_text(
        "import sys, atexit\n"
        "extra = ('opentelemetry.exporter', 'prometheus_client', 'google.protobuf', "
        "'chatbot.adapters.telemetry', 'opentelemetry.sdk.metrics')\n"
        "atexit.register(lambda: print('loaded:', *(m for m in sys.modules if m.startswith(extra))))\n"
        "from chatbot.entrypoints.http.app import create_app\n"
        "create_app()\n",
        "utf-8",
    )
    environment = {"API_KEY": "e" * 40, "JWT_SECRET": "d" * 30 + "f" * 10, "STORAGE_URL": "memory:"}
    run = await create_subprocess_exec(
        sys.executable, str(program), cwd=tmp_path, stdout=PIPE, env={**os.environ, **environment}
    )
    out, _ = await run.communicate()
    assert out.decode().splitlines()[-1] == "loaded:"
