"""The service behind a real nginx with the shipped configuration, `deploy/nginx.conf`."""

import asyncio
import json
import re
import ssl
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from chatbot.application.leases import BUSY_WAIT_S
from chatbot.entrypoints.http.body import BODY_DEADLINE_S
from chatbot.entrypoints.server.uvicorn_server import build_config
from conversation import PATIENCE_S, eventually
from nginx import SHIPPED, Front, nginx
from process import first_delta, running, with_provider
from programs import program
from provider import FakeProvider, Fault, closed_port_url
from service import API_KEY, PROBLEM_KEYS, SSE, Service, code_of, serving, settings_for_tests

if sys.platform != "linux":
    pytest.skip("the package is Debian's", allow_module_level=True)

LIMIT = 64 * 1024
WRONG = "not the right password"


@dataclass(frozen=True)
class World:
    service: Service
    front: Front
    upstream: FakeProvider


@asynccontextmanager
async def world(folder: Path) -> AsyncGenerator[World]:
    async with FakeProvider() as upstream:
        settings = settings_for_tests(
            openai_base_url=upstream.base_url,
            genkit_model="openai/fake-model",
            model_idle_timeout_s=600,
            model_turn_timeout_s=900,
            mem_structured_enable=False,
            trusted_proxies="127.0.0.1",
        )
        async with serving(settings) as service, nginx(folder, service.url) as front:
            yield World(service, front, upstream)


async def test_turn_goes_through_tls_and_http_2_is_offered(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        answer = await w.front.client.post("/chat", json={"prompt": "Hello"})
        assert (answer.status_code, answer.json()["text"]) == (200, "You said: Hello")
        assert answer.headers["strict-transport-security"].startswith("max-age=")

        w.front.trust.set_alpn_protocols(["h2", "http/1.1"])
        port = int(w.front.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=w.front.trust)
        seen: ssl.SSLObject = writer.get_extra_info("ssl_object")
        assert (seen.version(), seen.selected_alpn_protocol()) == ("TLSv1.3", "h2")
        writer.close()

        moved = await w.service.anonymous.get(f"{w.front.plain_url}/health?a=1")
        assert moved.status_code == 301
        assert moved.headers["location"] == "https://127.0.0.1/health?a=1"


async def test_access_log_has_the_request_id_of_the_service_and_no_query(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        answer = await w.front.client.get("/health?name=canary")
        await eventually(w.front.log.read_bytes)
        line = json.loads(w.front.log.read_bytes())
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["path"], line["status"], line["upstream_status"]) == ("/health", 200, "200")
    assert "canary" not in str(line)


async def test_stream_arrives_delta_by_delta_and_disconnecting_stops_the_model(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        w.upstream.fault = Fault.IDLE  # two pieces, and then nothing more
        asked = w.front.client.stream("POST", "/chat", json={"prompt": "Hello"}, headers=SSE)
        async with asyncio.timeout(PATIENCE_S), asked as answer:
            await first_delta(answer.aiter_lines())
        await asyncio.wait_for(w.upstream.requests[-1].client_left.wait(), PATIENCE_S)


async def test_disconnecting_before_the_first_delta_stops_the_model(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.upstream.fault = Fault.SILENT
        asking = asyncio.create_task(w.front.client.post("/chat", json={"prompt": "Hello"}))
        await eventually(lambda: w.upstream.requests)
        asking.cancel()
        await asyncio.wait([asking])
        await asyncio.wait_for(w.upstream.requests[-1].client_left.wait(), PATIENCE_S)


async def test_deltas_and_disconnects_pass_through_nginx_over_http_2(tmp_path: Path) -> None:
    """With curl, because httpx lacks HTTP/2 support here."""
    async with world(tmp_path) as w:
        w.upstream.fault = Fault.IDLE
        command = [program("curl"), "--http2", "-siN", "--cacert", str(w.front.trust_file)]
        command += ["-H", f"X-API-Key: {API_KEY}", "-H", "Accept: text/event-stream"]
        command += ["-H", "Content-Type: application/json", "-d", '{"prompt": "Hello"}']
        curl = await asyncio.create_subprocess_exec(*command, f"{w.front.url}/chat", stdout=PIPE)
        assert curl.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            assert (await curl.stdout.readline()).split() == [b"HTTP/2", b"200"]
            await first_delta(line.decode().rstrip("\n") async for line in curl.stdout)
        curl.kill()
        await curl.communicate()
        await asyncio.wait_for(w.upstream.requests[-1].client_left.wait(), PATIENCE_S)


async def chunks(body: bytes) -> AsyncGenerator[bytes]:
    """A body of undeclared length."""
    yield body[:1000]
    yield body[1000:]


async def test_body_over_the_limit_is_refused_and_never_reaches_the_service(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        largest = json.dumps({"prompt": ""}).replace('""', '"%s"').encode()
        largest = largest % (b"x" * (LIMIT - len(largest) + 2))
        assert len(largest) == LIMIT
        form = {"Content-Type": "application/json"}
        answer = await w.front.client.post("/chat", content=largest, headers=form)
        assert code_of(answer) == (413, "prompt_too_long")  # the service has read it

        for too_large in (largest + b" ", chunks(largest + b" ")):
            answer = await w.front.client.post("/chat", content=too_large, headers=form)
            assert code_of(answer) == (413, "body_too_large")
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["x-request-id"] == answer.json()["instance"]
            assert set(answer.json()) == PROBLEM_KEYS
        assert len(re.findall(b'"upstream_status":"413"', w.front.log.read_bytes())) == 1


async def test_no_prompt_goes_into_a_file_of_nginx(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        folder = w.front.log.parent / "body"
        before = folder.stat().st_mtime_ns
        largest = json.dumps({"prompt": "Hello"}).encode().ljust(LIMIT)
        form = {"Content-Type": "application/json"}
        for body in (largest, chunks(largest)):
            answer = await w.front.client.post("/chat", content=body, headers=form)
            assert answer.status_code == 200
        assert folder.stat().st_mtime_ns == before


def test_no_answer_goes_into_a_file_of_nginx_while_its_reader_is_slow() -> None:
    assert "    proxy_max_temp_file_size 0;\n" in SHIPPED.read_text("utf-8")


async def test_forwarded_address_from_an_untrusted_caller_is_ignored(tmp_path: Path) -> None:
    claims = ({"X-Forwarded-For": f"203.0.113.{number}"} for number in range(1, 100))

    async def guess(caller: httpx.AsyncClient, number: int) -> int:
        body = {"email": f"nobody{number}@example.com", "password": WRONG}
        return (await caller.post("/auth/login", json=body, headers=next(claims))).status_code

    async with world(tmp_path) as w, AsyncExitStack() as stack:

        async def calling_from(address: str) -> httpx.AsyncClient:
            transport = httpx.AsyncHTTPTransport(local_address=address, verify=w.front.trust)
            caller = httpx.AsyncClient(
                base_url=w.front.url, headers={"X-API-Key": API_KEY}, transport=transport
            )
            return await stack.enter_async_context(caller)

        guessing, other = await calling_from("127.0.0.2"), await calling_from("127.0.0.3")
        assert {await guess(guessing, number) for number in range(50)} == {401}
        assert await guess(guessing, 50) == 429
        assert await guess(other, 51) == 401


async def test_killed_replica_is_skipped_and_its_turn_is_not_repeated(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        replicas, providers = [], []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            providers.append(await stack.enter_async_context(FakeProvider()))
            providers[-1].fault = Fault.SILENT
            environment = {"STORAGE_URL": f"json:{tmp_path}/data", "TRUSTED_PROXIES": "127.0.0.1"}
            environment |= with_provider(providers[-1])
            replica = running(tmp_path / name, **environment)
            replicas.append(await stack.enter_async_context(replica))
        urls = (str(replica.client.base_url).rstrip("/") for replica in replicas)
        away = closed_port_url().removesuffix("/v1")
        front = await stack.enter_async_context(nginx(tmp_path, away, *urls))

        asking = asyncio.create_task(front.client.post("/chat", json={"prompt": "Hello"}))
        await eventually(lambda: any(provider.requests for provider in providers))
        busy = 0 if providers[0].requests else 1
        replicas[busy].process.kill()
        answer = await asking
        assert code_of(answer) == (502, "no_answer")
        assert set(answer.json()) == PROBLEM_KEYS
        assert providers[1 - busy].requests == []
        await eventually(front.log.read_bytes)
        line = json.loads(front.log.read_bytes())
        assert line["upstream_status"] == "502, 502"  # of the one that is away, and of the killed

        providers[1 - busy].fault = None
        for _ in range(4):
            listed = await front.client.get("/sessions")
            assert (listed.status_code, len(listed.json()["sessions"])) == (200, 1)
        [session] = listed.json()["sessions"]
        asked = {"prompt": "And now?", "session_id": session["session_id"]}
        assert (await front.client.post("/chat", json=asked)).status_code == 200
        stored = (await front.client.get(f"/sessions/{session['session_id']}")).json()
        said = [(message["content"], message.get("reason")) for message in stored["messages"]]
        assert said[:3] == [("Hello", None), ("", "crash"), ("And now?", None)]


def test_deadlines_fit_those_of_the_service() -> None:
    settings = settings_for_tests()
    config = build_config(nothing, settings)
    assert seconds("keepalive_timeout 3s") < config.timeout_keep_alive
    assert seconds("proxy_read_timeout 150s") > settings.model.turn_timeout_s + BUSY_WAIT_S
    assert seconds("client_body_timeout 20s") <= BODY_DEADLINE_S


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that is configured but not run."""


def seconds(directive: str) -> float:
    """The number in a directive of the shipped file."""
    assert f" {directive};" in SHIPPED.read_text("utf-8")
    return float(re.sub(r"\D", "", directive))
