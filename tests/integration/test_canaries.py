"""Canaries planted in every input appear in no log, trace, metric, response or file but their own."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

import provider
from chatbot.application.user_changes import NewUser
from chatbot.entrypoints.lifecycle import opened_management
from nginx import free_ports
from otlp import receiver
from process import STOPS_WITHIN_S, Running, running, with_provider
from provider import FakeProvider, Fault
from service import API_KEY, HOST, JWT_SECRET, PASSWORD, SSE, settings_for_tests

PLANTED = (
    *("prompt", "answer", "summary", "memory", "email", "password", "key", "query", "header"),
    *("cookie", "path", "method", "body", "field", "provider_key", "provider_error"),
    "embedding_key",
)
SECRETS = {"api_key": API_KEY, "jwt_secret": JWT_SECRET, "provider_secret": provider.SECRET}
OTHER = "eve@example.com"
METRICS, TRACES = "metrics.txt", "otlp.bin"

# Only authorised callers get them, with status 200.
ANSWERS = {
    "POST /auth/login": {"token", "refresh"},
    "GET /me": {"email"},
    "POST /chat": {"answer", "prompt", "summary", "memory"},  # in `memory_used`
    "GET /sessions": {"prompt"},  # the title
    "GET /sessions/{id}": {"prompt", "answer", "summary", "memory"},
    "PUT /sessions/{id}/summary": {"summary"},
    "GET /sessions/{id}/summary": {"summary"},
    "PUT /sessions/{id}/memory": {"memory", "prompt"},
    "GET /sessions/{id}/memory": {"memory", "prompt"},
}
FILES = {"users.json": {"email"}, ".log": {"prompt", "answer"}}
FILES[".json"] = {"summary", "memory", "prompt", "answer"}  # what the model made of its session


@dataclass
class World:
    """A service on a folder, its provider, and all its responses."""

    service: Running
    upstream: FakeProvider
    canaries: dict[str, str]
    bearer: dict[str, str] = field(default_factory=dict)
    leaks: list[str] = field(default_factory=list)
    answers: int = 0

    def found_in(self, text: str) -> set[str]:
        return {name for name, canary in self.canaries.items() if canary in text}

    async def call(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Call as the user who planted the canaries."""
        headers = {**self.bearer, **given.pop("headers", {})}
        answer = await self.service.client.request(method, path, headers=headers, **given)
        route = f"{method} {_template(path)}"
        known = ANSWERS.get(route, set()) if answer.is_success else set()
        self.look_at(route, answer, known)
        return answer

    def look_at(self, route: str, answer: httpx.Response, known: set[str]) -> None:
        self.answers += 1
        leaked = self.found_in(f"{answer.headers}\n{answer.text}") - known
        self.leaks += [f"{route} {answer.status_code}: {name}" for name in leaked]


def _template(path: str) -> str:
    parts = path.split("/")
    if parts[1] == "sessions" and len(parts) > 2 and parts[2] != "new":
        parts[2] = "{id}"
    return "/".join(parts)


@asynccontextmanager
async def world(transport: str, folder: Path) -> AsyncGenerator[World]:
    canaries = {name: f"canary{number}zq" for number, name in enumerate(PLANTED)}
    email = f"{canaries['email']}@example.com"
    password = f"{canaries['password']} {PASSWORD}"
    await add_users(folder, {email: password, OTHER: PASSWORD})
    (port,) = free_ports(1)
    async with FakeProvider() as upstream, receiver() as received:
        environment = with_provider(upstream) | {
            "FASTAPI_OTEL_AUTO_CONFIGURE": "true",  # as if someone had switched FastAPI's own on
            "METRICS_PORT": str(port),
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "OPENAI_API_KEY": canaries["provider_key"],
            "EMBEDDING_MODEL": "openai/fake-embeddings",
            "EMBEDDING_API_KEY": canaries["embedding_key"],
            "EMBEDDING_TIMEOUT_SECONDS": "0.5",
            "MODEL_TRANSPORT": transport,
            "MODEL_FIRST_TOKEN_TIMEOUT_S": "0.5",
            "MODEL_IDLE_TIMEOUT_S": "0.5",
            "MODEL_TURN_TIMEOUT_S": "1",
            "MEM_STRUCTURED_ENABLE": "true",
            "MEM_EXTRACT_EVERY": "1",
            "LOG_LEVEL": "debug",
        }
        async with running(folder, **environment) as service:
            found = World(service, upstream, canaries | SECRETS)
            answer = await found.call(
                "POST", "/auth/login", json={"email": email, "password": password}
            )
            found.canaries["token"] = answer.json()["access_token"]
            found.canaries["refresh"] = answer.json()["refresh_token"]
            found.bearer = {"Authorization": f"Bearer {found.canaries['token']}"}
            yield found
            metrics = await service.client.get(f"http://127.0.0.1:{port}/metrics")
            service.process.terminate()
            await asyncio.wait_for(service.process.wait(), STOPS_WITHIN_S)
        (folder / METRICS).write_text(metrics.text, "utf-8")
        (folder / TRACES).write_bytes(b"\n".join(received.bodies))
        assert received.scopes == {"chatbot"}


async def add_users(folder: Path, passwords: dict[str, str]) -> None:
    url = f"json:{folder / 'data'}"
    async with opened_management(settings_for_tests(storage_url=url)) as management:
        for email, password in passwords.items():
            new = NewUser(email=email, roles=["employee"], department="sales", password=password)
            await management.people.create(HOST, new)


async def use(world: World) -> str:
    """Plant the canaries of a session; return its id."""
    secret = world.canaries
    body = {"prompt": f"I am {secret['prompt']}."}
    world.upstream.reply = lambda _: f"Well, {secret['answer']}"
    session_id = str((await world.call("POST", "/chat", json=body)).json()["session_id"])
    path, body = f"/sessions/{session_id}", body | {"session_id": session_id}
    memory = {"profile": {"name": secret["memory"]}, "facts": [f"A fact: {secret['memory']}"]}
    await world.call("PUT", f"{path}/summary", json={"summary": f"Met {secret['summary']}"})
    await world.call("PUT", f"{path}/memory", json={"structured_memory": memory})
    await world.call("POST", "/chat", json=body, headers=SSE)
    for known in ("/me", "/sessions", path, f"{path}/summary", f"{path}/memory"):
        await world.call("GET", known)
    return session_id


async def fail(world: World) -> None:
    """Ask a provider that fails in every way and quotes its input."""
    secret = world.canaries
    for headers in ({}, SSE):
        for fault in Fault:
            world.upstream.fault = fault
            await world.call(
                *("POST", "/chat"),
                json={"prompt": f"I am {secret['prompt']}."},
                headers=headers | {"X-Other": secret["header"], "Cookie": f"a={secret['cookie']}"},
                params={"q": secret["query"]},
            )
    world.upstream.fault = None


async def misuse(world: World, session_id: str) -> None:
    """Send secrets where they do not belong."""
    secret, call = world.canaries, world.call
    login = {"email": f"{secret['email']}@example.com", "password": secret["password"]}
    text = {"Content-Type": "text/plain"}
    for body in (login, [login], login | {secret["field"]: 1}, {"email": login, "password": login}):
        await call("POST", "/auth/login", json=body)
    await call("POST", "/auth/login", content=json.dumps(login), headers=text)
    for path in ("/auth/refresh", "/auth/logout"):
        for odd in (secret["field"], [secret["refresh"]], secret["refresh"] + secret["body"]):
            await call(
                "POST", path, json={"refresh_token": odd, secret["field"]: secret["refresh"]}
            )
            await call("POST", path, json={"refresh_token": odd})
        await call("POST", path, content=secret["refresh"], headers=text)
    for _ in range(2):
        await call("POST", "/auth/refresh", json={"refresh_token": secret["refresh"]})
    for path in ("/chat", f"/sessions/{session_id}/summary", f"/sessions/{session_id}/memory"):
        method = "POST" if path == "/chat" else "PUT"
        for odd in odd_bodies(secret):
            await call(method, path, json=odd)
        for raw in (f'{{"prompt": "{secret["body"]}', f'"{secret["body"]}" NaN', secret["body"]):
            await call(method, path, content=raw, headers={"Content-Type": "application/json"})
        await call(method, path, content=secret["body"], headers=text)
    await call("GET", "/sessions", headers={"X-API-Key": secret["key"]})
    await call("GET", "/sessions", headers={"Authorization": f"Bearer {secret['key']}"})
    await call("GET", "/sessions", headers={"Authorization": secret["key"]})
    await call("GET", "/sessions", headers={"Host": f"{secret['header']}.example.com"})
    for name in ("api_key", "after", "limit", secret["field"]):
        await call("GET", "/sessions", params={name: secret["query"]})
    for path in (f"/{secret['path']}", f"/sessions/{secret['path']}", f"/docs/{secret['path']}"):
        await call("GET", path)
    await call(secret["method"].upper(), "/chat")


def odd_bodies(secret: dict[str, str]) -> list[Any]:
    return [
        {"prompt": secret["body"], secret["field"]: 1},
        {"prompt": [secret["body"]], "session_id": secret["body"]},
        {"prompt": secret["body"], "session_id": secret["body"]},
        {"prompt": secret["body"] * 2000},
        {"summary": secret["body"] * 1000},
        {"summary": {secret["field"]: secret["body"]}},
        {"structured_memory": {"facts": [1, {secret["field"]: secret["body"]}]}},
        {"structured_memory": {"profile": {secret["field"] * 20: secret["body"]}}},
        {"structured_memory": {"profile": {secret["field"]: [secret["body"]]}}},
        secret["body"],
    ]


async def pry(world: World, session_id: str) -> None:
    """Another user requests everything; the provider echoes its input."""
    world.upstream.reply = provider.default_reply
    login = {"email": OTHER, "password": PASSWORD}
    answer = await world.service.client.post("/auth/login", json=login)
    other = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    body = {"prompt": "What do you know?"}
    for headers in (other, {}):
        for method, path, given in (
            ("GET", "/sessions", None),
            ("GET", f"/sessions/{session_id}", None),
            ("GET", f"/sessions/{session_id}/memory", None),
            ("DELETE", f"/sessions/{session_id}", None),
            ("POST", "/chat", body),
            ("POST", "/chat", body | {"session_id": session_id}),
            ("GET", "/openapi.json", None),
        ):
            found = await world.service.client.request(method, path, headers=headers, json=given)
            world.look_at(f"{method} {path} by another", found, set())


def leaks_in_files(world: World, folder: Path) -> list[str]:
    leaks = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        own = FILES.get(path.name) or FILES.get(
            path.suffix if {"memory", "person_memories"} & {*path.parts} else "", set()
        )
        leaked = world.found_in(path.read_bytes().decode("utf-8", "replace")) - own
        leaks += [f"{path.relative_to(folder)}: {name}" for name in leaked]
    return leaks


@pytest.mark.parametrize("transport", ["aiohttp", "sdk"])
async def test_canaries_appear_in_no_log_no_response_and_no_file_but_their_own(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(transport, tmp_path) as found:
        session_id = await use(found)
        secret = found.canaries
        said = f"No: {secret['prompt']} {secret['provider_key']} {secret['provider_error']}"
        monkeypatch.setattr(provider, "error_body", lambda _: {"error": {"message": said}})
        await fail(found)
        await misuse(found, session_id)
        await pry(found, session_id)
    log = found.service.log.read_text("utf-8")
    requests = [line for line in log.splitlines() if '"event": "request"' in line]
    assert found.leaks == []
    assert leaks_in_files(found, tmp_path) == []
    assert len(requests) >= found.answers > 2 * len(Fault)
    metrics, exported = (tmp_path / METRICS).read_text("utf-8"), (tmp_path / TRACES).read_bytes()
    assert "chatbot_turns_total" in metrics
    assert "chatbot_embedding_duration_seconds_count" in metrics
    embedded = [each for each in found.upstream.requests if each.path.endswith("/embeddings")]
    keys = {each.headers["authorization"] for each in embedded}
    assert keys == {f"Bearer {secret['embedding_key']}"}
    assert session_id not in metrics  # metrics have few labels; of a trace it is the conversation
    assert b"GET /sessions/{session_id}" in exported
    assert session_id.encode() in exported
    [own] = (tmp_path / "data").rglob(f"{session_id}.log")
    assert {"prompt", "answer"} == found.found_in(own.read_text("utf-8"))
    assert "summary" in found.found_in(own.with_suffix(".json").read_text("utf-8"))
    people = (tmp_path / "data" / "records" / "person_memories").glob("*.json")
    assert any("memory" in found.found_in(each.read_text("utf-8")) for each in people)
