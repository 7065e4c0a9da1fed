"""Every documented error that can occur, as a client sees it."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

import openapi_document
from chatbot.adapters.llm.scripted import Answer, Script, ScriptedModel
from chatbot.adapters.security.argon2_hasher import MAX_WAITING, Argon2Hasher
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application import leases
from chatbot.domain.errors import (
    ContextTooLong,
    ModelError,
    ModelTimeout,
    ModelUnavailable,
    PromptRefused,
    StorageFull,
    StorageUnavailable,
)
from chatbot.domain.permissions import Permission, Role
from chatbot.domain.ports.security import PasswordHasher
from chatbot.domain.ports.storage import Found, Storage
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.http import native
from chatbot.entrypoints.http.body import BodyFormat
from conversation import PATIENCE_S
from raw_http import answer_to_raw
from service import (
    API_KEY,
    OF_A_FAILED_TURN,
    PASSWORD,
    PROBLEM_KEYS,
    SSE,
    Service,
    code_of,
    messages_of,
    serving,
    settings_for_tests,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARY = "canary-4711"
DOCUMENT = openapi_document.document()
JSON = {"Content-Type": "application/json"}


class FailingStorage(InMemoryStorage):
    """Every transaction fails while `failure` is set."""

    failure: Exception | None = None

    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        if self.failure is not None:
            raise self.failure
        return await super().transact(work)

    async def check(self) -> None:
        if self.failure is not None:
            raise self.failure


@asynccontextmanager
async def answering(
    answer: Answer = "Of course.",
    *,
    storage: Storage | None = None,
    hasher: PasswordHasher | None = None,
) -> AsyncGenerator[Service]:
    settings = settings_for_tests(mem_structured_enable=False)
    model = ScriptedModel(lambda _: answer)
    async with serving(settings, model=model, storage=storage, hasher=hasher) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncGenerator[Service]:
    """A shared service for tests that break nothing."""
    async with answering() as service:
        yield service


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check the common parts of a problem document and return it."""
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.keys() - {"errors"} in (PROBLEM_KEYS, PROBLEM_KEYS | OF_A_FAILED_TURN)
    assert problem["status"] == status
    assert problem["instance"] == answer.headers["x-request-id"]
    assert len(problem["instance"]) == 32
    assert problem["title"]
    assert problem["detail"]
    assert CANARY not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert_documented(answer, f"{status}", code)
    return problem


def assert_documented(answer: httpx.Response, status: str, code: str) -> None:
    """Check that the OpenAPI document lists the error for a documented call."""
    if answer._request is None:  # made of bytes
        return
    method, path = answer.request.method.lower(), answer.request.url.path
    for template in (path, re.sub(r"(?<=^/sessions/)(?!new$)[^/]+", "{session_id}", path)):
        if operation := DOCUMENT["paths"].get(template, {}).get(method):
            name = operation["responses"][status]["$ref"].rpartition("/")[2]
            assert code in name.split("_or_"), f"{method} {template}"


async def post_raw(service: Service, body: bytes, headers: dict[str, str]) -> httpx.Response:
    return await service.client.post("/chat", content=body, headers=headers)


@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt": NaN}',
        b'{"prompt": "canary-4711", "x": -Infinity}',
        b'{"prompt": "canary-4711", "prompt": "canary-4711"}',
        b'{"prompt": "a", "\\u0070rompt": "canary-4711"}',
        b'{"prompt": ' + b"[" * 32 + b"]" * 32 + b"}",
        b"[" * 60_000,
        b'{"prompt": "canary-4711 \\ud800"}',
        b'{"prompt": "canary-4711 \\udc00\\ud800"}',
        b'{"canary-4711 \\ud800": 1}',
        b'{"prompt": "canary-4711 \\u0000"}',
        b'{"prompt": "canary-4711 \x00"}',
        b'{"prompt": "canary-4711 \xff"}',
        b'{"prompt": "canary-4711 \xed\xa0\x80"}',
        '{"prompt": "canary-4711"}'.encode("utf-16"),
        '\ufeff{"prompt": "canary-4711"}'.encode(),
        b'{"prompt": "canary-4711"',
        b'{"prompt": "canary-4711"} {}',
        b"{'prompt': 'canary-4711'}",
        b'{"prompt": ' + b"9" * 5000 + b"}",
        b"prompt=canary-4711",
        b" ",
    ],
)
async def test_400_for_a_body_that_is_not_strict_json(shared: Service, body: bytes) -> None:
    answer = await post_raw(shared, body, JSON)
    assert_problem(answer, 400, "bad_request")


@pytest.mark.parametrize("name", ["X-API-Key", "Authorization", "Content-Type"])
async def test_400_for_a_repeated_header(shared: Service, name: str) -> None:
    headers = {
        "X-API-Key": API_KEY,
        "Content-Type": "application/json",
        "Authorization": "Bearer x",
    }
    twice = [*headers.items(), (name, headers[name])]
    answer = await shared.anonymous.post("/chat", content=b"{}", headers=twice)
    assert_problem(answer, 400, "bad_request")


async def test_400_for_a_host_that_is_not_allowed() -> None:
    settings = settings_for_tests(allowed_hosts="chat.example.com")
    async with serving(settings) as service:
        other = await service.client.get("/health", headers={"Host": "evil.example.com"})
        ours = await service.client.get("/health", headers={"Host": "Chat.Example.com:8000"})
    assert_problem(other, 400, "bad_request")
    assert ours.status_code == 200


async def test_401_without_a_key(shared: Service) -> None:
    answer = await shared.anonymous.post("/chat", json={"prompt": CANARY})
    assert_problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize("name", ["api_key", "X-API-Key", "key", "access_token"])
async def test_401_for_a_key_in_the_query_string_or_in_a_cookie(shared: Service, name: str) -> None:
    cookie = {"Cookie": f"{name}={API_KEY}"}
    answers = [
        await shared.anonymous.get("/sessions", params={name: API_KEY}),
        await shared.anonymous.get("/sessions", headers=cookie),
        await shared.anonymous.get("/sessions", headers={"Authorization": f"Bearer {API_KEY}"}),
    ]
    for answer in answers:
        assert_problem(answer, 401, "unauthenticated")


async def test_401_with_a_wrong_key(shared: Service) -> None:
    answer = await shared.anonymous.get("/sessions", headers={"X-API-Key": CANARY})
    assert_problem(answer, 401, "invalid_api_key")


async def test_401_with_a_bad_token(shared: Service) -> None:
    bad = {"Authorization": f"Bearer {CANARY}"}
    answer = await shared.client.get("/sessions", headers=bad)
    assert_problem(answer, 401, "invalid_token")


async def test_401_with_wrong_credentials(shared: Service) -> None:
    body = {"email": f"{CANARY}@example.com", "password": CANARY}
    answer = await shared.client.post("/auth/login", json=body)
    assert_problem(answer, 401, "invalid_credentials")


async def test_403_without_the_permission() -> None:
    roles = {"mute": Role(name="mute", permissions=frozenset({Permission.USERS_READ}))}
    async with answering(storage=InMemoryStorage(roles)) as service:
        await service.add_user("mute@example.com", "mute")
        bearer = await service.bearer("mute@example.com")
        answer = await service.client.post("/chat", json={"prompt": CANARY}, headers=bearer)
    assert_problem(answer, 403, "forbidden")


async def test_404_for_unknown_sessions_and_paths(shared: Service) -> None:
    answers = [
        await shared.client.get(f"/sessions/{CANARY}"),
        await shared.client.get(f"/sessions/{'0' * 32}"),
        await shared.client.get(f"/{CANARY}"),
    ]
    for answer in answers:
        assert_problem(answer, 404, "not_found")
    assert answers[-1].json()["detail"] == "The API has no such path."


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/chat", {"POST"}),
        ("DELETE", "/sessions", {"GET"}),
        ("PUT", "/sessions/new", {"POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("POST", "/ready", {"GET", "HEAD"}),
        ("BREW", "/me", {"GET", "DELETE"}),
        ("POST", "/docs", {"GET", "HEAD"}),
        ("OPTIONS", f"/sessions/{'0' * 32}", {"GET", "PATCH", "DELETE"}),
        ("POST", f"/sessions/{'0' * 32}/memory", {"GET", "PUT"}),
    ],
)
async def test_405_lists_the_allowed_methods(
    shared: Service, method: str, path: str, allowed: set[str]
) -> None:
    answer = await shared.client.request(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.json()["detail"].startswith("The path does not support this method.")
    assert set(answer.headers["allow"].split(", ")) == allowed


async def test_408_when_the_body_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "BodyFormat", partial(BodyFormat, deadline_s=0.05))
    async with answering() as service:
        answer = await answer_to_raw(
            service,
            b"POST /chat HTTP/1.1\r\nHost: x\r\nX-API-Key: %b\r\nContent-Length: 99\r\n"
            b'Content-Type: application/json\r\n\r\n{"prompt": "canary-4711',
        )
    assert_problem(answer, 408, "request_timeout")


async def test_409_while_another_turn_holds_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BUSY_WAIT_S", 0.0)
    reached, let_go = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        reached.set()
        await let_go.wait()

    async with answering(Script(pause=pause)) as service:
        path = f"/sessions/{(await service.client.post('/sessions/new')).json()['session_id']}"
        body = {"prompt": CANARY, "session_id": path.rpartition("/")[2]}
        running = asyncio.create_task(service.client.post("/chat", json=body))
        await asyncio.wait_for(reached.wait(), PATIENCE_S)
        answers = [
            await service.client.post("/chat", json=body),
            await service.client.post(f"{path}/reset"),
            await service.client.delete(path),
            await service.client.put(f"{path}/summary", json={"summary": CANARY}),
            await service.client.post(f"{path}/summary/reset"),
            await service.client.put(f"{path}/memory", json={"structured_memory": {}}),
            await service.client.post(f"{path}/memory/reset"),
        ]
        let_go.set()
        await running
    for answer in answers:
        assert_problem(answer, 409, "session_busy")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-should-retry"] == "false"


async def test_413_when_the_prompt_is_too_long(shared: Service) -> None:
    answer = await shared.client.post("/chat", json={"prompt": f"{CANARY} {'x' * 4000}"})
    assert_problem(answer, 413, "prompt_too_long")


async def test_413_when_the_declared_body_is_too_large(shared: Service) -> None:
    answer = await post_raw(shared, b'"' + b"x" * 65_536, JSON)
    assert_problem(answer, 413, "body_too_large")
    assert (await shared.client.get("/sessions")).status_code == 200


async def test_413_counts_received_bytes_when_no_length_is_declared(shared: Service) -> None:
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    answer = await answer_to_raw(
        shared,
        b"POST /chat HTTP/1.1\r\nHost: x\r\nX-API-Key: %b\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/json\r\n\r\n" + chunk * 17,  # and no end
    )
    assert_problem(answer, 413, "body_too_large")


async def test_413_for_memory_that_is_within_its_limits_but_too_large_as_a_body(
    shared: Service,
) -> None:
    session_id = (await shared.client.post("/sessions/new")).json()["session_id"]
    memory = {"facts": [f"{n:02}{CANARY}{'😀' * 480}" for n in range(20)]}
    path, body = f"/sessions/{session_id}/memory", {"structured_memory": memory}
    as_utf8 = json.dumps(body, ensure_ascii=False).encode()
    escaped = await shared.client.put(path, content=json.dumps(body).encode(), headers=JSON)
    fits = await shared.client.put(path, content=as_utf8, headers=JSON)
    assert_problem(escaped, 413, "body_too_large")
    assert fits.json()["structured_memory"]["facts"] == memory["facts"]


async def test_body_of_the_largest_allowed_prompt_is_never_too_large(shared: Service) -> None:
    widest = json.dumps({"prompt": "😀" * 4000}).encode()  # 12 bytes each, escaped
    assert (await post_raw(shared, widest, JSON)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": ""},
        {},
        JSON | {"Content-Encoding": "gzip"},
        JSON | {"Content-Encoding": "identity, gzip"},
    ],
)
async def test_415_for_anything_but_uncompressed_json(
    shared: Service, headers: dict[str, str]
) -> None:
    answer = await post_raw(shared, b'{"prompt": "canary-4711"}', headers)
    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "body",
    [
        *({}, [], None, "canary-4711"),
        {"prompt": None},
        {"prompt": 4711},
        {"prompt": ["canary-4711"]},
        {"prompt": "canary-4711", "session_id": 4711},
        {"prompt": "canary-4711", "model": "canary-4711"},
        {"prompt": "Hi", "canary-4711": 1},
    ],
)
async def test_422_names_the_location_and_never_repeats_the_input(
    shared: Service, body: object
) -> None:
    answer = await shared.client.post("/chat", json=body)
    problem = assert_problem(answer, 422, "invalid_request")
    assert problem["errors"]
    assert all(
        one.keys() == {"loc", "msg"} and one["loc"][0] == "body" for one in problem["errors"]
    )


async def test_429_when_too_many_wait_to_log_in() -> None:
    hasher = Argon2Hasher()
    for _ in range(MAX_WAITING + 1):
        assert hasher._queue_slots.acquire(blocking=False)
    async with answering(hasher=hasher) as service:
        body = {"email": "ana@example.com", "password": PASSWORD}
        answer = await service.client.post("/auth/login", json=body)
    assert_problem(answer, 429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (ModelError("No use."), 502, "model_error"),
        (ModelUnavailable("Not now."), 503, "model_unavailable"),
        (ModelTimeout("Too slow."), 504, "model_timeout"),
        (PromptRefused(), 422, "prompt_refused"),
        (ContextTooLong(), 422, "prompt_refused"),
    ],
)
async def test_failure_of_the_model(failure: Any, status: int, code: str) -> None:
    async with answering(failure) as service:
        answer = await service.client.post("/chat", json={"prompt": CANARY})
        problem = assert_problem(answer, status, code)
        messages = await messages_of(service.client, problem["session_id"])
    assert [m["turn_id"] for m in messages] == [problem["turn_id"]] * 2, "the question is kept"


@pytest.mark.parametrize(
    ("wish_s", "header"),
    [(0.01, "1"), (41.2, "42"), (3600, "3600"), (3600.1, "3600"), (1e300, "3600")],
)
async def test_503_forwards_the_retry_after_of_the_provider_up_to_an_hour(
    wish_s: float, header: str
) -> None:
    async with answering(ModelUnavailable("Not now.", retry_after_s=wish_s)) as service:
        answer = await service.client.post("/chat", json={"prompt": CANARY})
    assert_problem(answer, 503, "model_unavailable")
    assert answer.headers["retry-after"] == header


async def test_503_while_the_store_cannot_be_used() -> None:
    storage = FailingStorage()
    async with answering(storage=storage) as service:
        storage.failure = StorageUnavailable("The store cannot be used.")
        answers = [
            await service.client.post("/chat", json={"prompt": CANARY}),
            await service.client.get("/sessions"),
            await service.anonymous.get("/ready"),
        ]
        alive = await service.anonymous.get("/health")
        storage.failure = None
        ready = await service.anonymous.get("/ready")
    for answer in answers:
        assert_problem(answer, 503, "storage_unavailable")
    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ok"})


async def test_503_while_the_service_is_stopping() -> None:
    async with answering() as service:
        await service.use.chat.running.aclose()
        answers = [
            await service.client.post("/chat", json={"prompt": CANARY}),
            await service.anonymous.get("/ready"),
        ]
    for answer in answers:
        assert_problem(answer, 503, "shutting_down")
        assert int(answer.headers["retry-after"]) >= 1


async def test_507_when_the_disk_is_full() -> None:
    storage = FailingStorage()
    async with answering(storage=storage) as service:
        storage.failure = StorageFull("There is no space left.")
        full = await service.client.post("/chat", json={"prompt": CANARY})
        storage.failure = None
        again = await service.client.post("/chat", json={"prompt": CANARY})
    assert_problem(full, 507, "storage_full")
    assert again.status_code == 200


async def test_answer_that_cannot_be_stored_is_not_acknowledged() -> None:
    storage = FailingStorage()

    async def fill_the_disk() -> None:
        storage.failure = StorageFull("There is no space left.")

    script = Script(pieces=("one",), pause=fill_the_disk)
    async with answering(script, storage=storage) as service:
        plain = await service.client.post("/chat", json={"prompt": CANARY})
        storage.failure = None
        stream = await service.client.post("/chat", json={"prompt": CANARY}, headers=SSE)
    assert_problem(plain, 507, "storage_full")
    assert "event: done" not in stream.text
    assert '"code":"storage_full"' in stream.text


async def test_500_reveals_only_the_request_id_and_logs_everything() -> None:
    storage = FailingStorage()
    with capture_logs() as lines:
        async with answering(storage=storage) as service:
            storage.failure = RuntimeError(f"{CANARY} in /etc/secret")
            answers = [
                await service.client.get("/sessions"),
                await service.client.post("/chat", json={"prompt": "Hi"}),
            ]
    logged = [line for line in lines if line.get("exc_info")]
    assert len(logged) == 2
    for answer, line in zip(answers, logged, strict=True):
        problem = assert_problem(answer, 500, "internal_error")
        assert "/etc" not in problem["detail"]
        assert (line["log_level"], line["request_id"]) == ("error", problem["instance"])


async def test_500_after_the_first_delta_is_an_error_event() -> None:
    async def break_down() -> None:
        raise RuntimeError(CANARY)

    async with answering(Script(pieces=("one",), pause=break_down)) as service:
        answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=SSE)
    *_, last = answer.text.strip().split("\n\n")
    assert last.startswith("event: error\n")
    assert '"code":"internal_error"' in last
    assert CANARY not in last


@pytest.mark.parametrize(
    ("call", "body", "where", "allowed"),
    [
        ("POST /chat", {"prompt": "a", CANARY: 1}, ["body"], "prompt, session_id, documents"),
        ("POST /auth/login", {CANARY: 1}, ["body"], "email, password"),
        ("POST /sessions/new", {CANARY: 1}, ["body"], "title"),
        ("POST {session}/reset", {"session_id": 1}, ["body"], "none"),
        ("POST {session}/summary/reset", {CANARY: 1}, ["body"], "none"),
        ("POST {session}/memory/reset", {CANARY: 1}, ["body"], "none"),
        ("PUT {session}/summary", {"summary": "", CANARY: 1}, ["body"], "summary"),
        ("PUT {session}/memory", {"facts": []}, ["body"], "structured_memory"),
        (
            "PUT {session}/memory",
            {"structured_memory": {CANARY: []}},
            ["body", "structured_memory"],
            "profile, preferences, facts, todos",
        ),
    ],
)
async def test_unknown_field_is_422_and_the_allowed_fields_are_listed(
    shared: Service, call: str, body: dict[str, Any], where: list[str], allowed: str
) -> None:
    session_id = (await shared.client.post("/sessions/new")).json()["session_id"]
    method, path = call.replace("{session}", f"/sessions/{session_id}").split()

    answer = await shared.client.request(method, path, json=body)

    assert code_of(answer) == (422, "invalid_request")
    unknown = {"loc": where, "msg": f"Unknown field. Allowed: {allowed}."}
    assert unknown in answer.json()["errors"]
    assert CANARY not in answer.text


@pytest.mark.parametrize("content", [b"", b"{}"])
async def test_call_without_fields_accepts_an_empty_body(shared: Service, content: bytes) -> None:
    answer = await shared.client.post("/sessions/new", content=content, headers=JSON)

    assert answer.status_code == 201


@pytest.mark.parametrize("content", [b"[]", b"1", b'"x"', b"{", b"null"])
async def test_call_without_fields_rejects_any_other_body(shared: Service, content: bytes) -> None:
    before = (await shared.client.get("/sessions")).json()
    answer = await shared.client.post("/sessions/new", content=content, headers=JSON)

    assert answer.status_code in {400, 422}
    assert (await shared.client.get("/sessions")).json() == before
