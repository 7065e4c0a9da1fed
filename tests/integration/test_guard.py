"""Checks of bodies, headers, hosts and paths before routing, and the headers of every response."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
import pytest_asyncio
from starlette.types import Message, Scope
from structlog.testing import capture_logs

from access_table import CALLS
from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.entrypoints.http.body import receive_body
from chatbot.entrypoints.http.errors import Rejected, details_of
from chatbot.entrypoints.http.json_body import json_body
from raw_http import answer_to_raw, connected, read_answer
from service import API_KEY, SSE, Service, code_of, serving, settings_for_tests

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = b'{"prompt": "Hi"}'
JSON = {"Content-Type": "application/json"}
ORIGIN = "https://intranet.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
POST_CHAT = b"POST /chat HTTP/1.1\r\nHost: x\r\nX-API-Key: %b\r\nContent-Type: application/json\r\n"
ON_EVERY_ANSWER = {
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@asynccontextmanager
async def answering(**given: object) -> AsyncGenerator[Service]:
    settings = settings_for_tests(mem_structured_enable=False, **given)
    async with serving(settings, model=ScriptedModel(lambda _: "Of course.")) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncGenerator[Service]:
    async with answering(cors_allow_origins=ORIGIN) as service:
        yield service


# --- bodies -------------------------------------------------------------------------------------


async def in_pieces(body: bytes) -> AsyncGenerator[bytes]:
    """Chunked, as httpx sends bodies without a declared length."""
    for at in range(0, len(body), 10_000):
        yield body[at : at + 10_000]


@pytest.mark.parametrize(
    ("max_prompt_chars", "cap"), [(1, 65_536), (5120, 65_536), (5121, 65_548), (9000, 112_096)]
)
async def test_largest_allowed_body_is_accepted_and_one_byte_more_is_rejected(
    max_prompt_chars: int, cap: int
) -> None:
    async with answering(max_prompt_chars=max_prompt_chars) as service:
        fits = b'{"prompt": "H"}'.ljust(cap)
        for body in (fits, in_pieces(fits)):
            answer = await service.client.post("/chat", content=body, headers=JSON)
            assert answer.status_code == 200
        for body in (fits + b" ", in_pieces(fits + b" ")):
            answer = await service.client.post("/chat", content=body, headers=JSON)
            assert code_of(answer) == (413, "body_too_large")


async def test_long_prompt_is_reported_as_such_before_its_body_is_too_large(
    shared: Service,
) -> None:
    async def ask(prompt: str) -> httpx.Response:
        return await shared.client.post("/chat", json={"prompt": prompt})

    widest = "ñ😀" * 2000
    assert (await ask(widest)).status_code == 200
    assert code_of(await ask(widest + "x")) == (413, "prompt_too_long")
    assert code_of(await ask("x" * (65_536 - len(json.dumps({"prompt": ""}))))) == (
        *(413, "prompt_too_long"),
    )
    assert code_of(await ask("x" * 65_536)) == (413, "body_too_large")


async def test_deadline_covers_the_whole_body_even_if_bytes_keep_arriving() -> None:
    async def drip() -> Message:
        await asyncio.sleep(0)  # another drop is always there, and never the last
        return {"type": "http.request", "body": b"", "more_body": True}

    form = replace(json_body(max_bytes=1), deadline_s=0.05)
    scope: Scope = {"type": "http", "method": "POST", "state": {}}
    async with asyncio.timeout(20):
        with pytest.raises(Rejected) as rejected:
            await receive_body([form], scope, {b"content-type": b"application/json"}, drip)
    details = details_of(rejected.value)
    assert details.status == 408
    assert details.all_headers()["Connection"] == "close"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (POST_CHAT + b"Content-Length: 99999\r\n", 413),
        (POST_CHAT.replace(b"%b", b"wrong") + b"Content-Length: 16\r\n", 401),
        (POST_CHAT + b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", 400),
    ],
)
async def test_rejected_request_gets_no_100_continue(
    shared: Service, request_: bytes, status: int
) -> None:
    answer = await answer_to_raw(shared, request_ + b"Expect: 100-continue\r\n\r\n")
    assert answer.status_code == status, "and not 100"


async def test_accepted_request_gets_100_continue(shared: Service) -> None:
    async with connected(shared) as (reader, writer):
        head = POST_CHAT + b"Content-Length: 16\r\nExpect: 100-continue\r\n\r\n"
        writer.write(head.replace(b"%b", API_KEY.encode()))
        assert (await read_answer(reader)).status_code == 100
        writer.write(HELLO)
        assert (await read_answer(reader)).status_code == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json; charset=UTF-8", 200),
        ("Application/JSON; charset=utf-8", 200),
        ('application/json;charset="utf-8"', 200),
        ("application/json; v=1", 200),
        ("application/json; charset=latin-1", 415),
        ("application/json; v=1; Charset = utf-16", 415),
        ("application/json; charset=utf-80", 415),
        ("application/json; charset=", 415),
        ("application/json, text/plain", 415),
        ("text/json", 415),
    ],
)
async def test_only_utf_8_is_accepted_as_charset(
    shared: Service, content_type: str, status: int
) -> None:
    headers = {"Content-Type": content_type}
    answer = await shared.client.post("/chat", content=HELLO, headers=headers)
    assert answer.status_code == status


async def test_body_of_a_get_is_not_parsed_as_a_second_request(shared: Service) -> None:
    hidden = b"DELETE /sessions/x HTTP/1.1\r\nHost: x\r\nX-API-Key: %b\r\n\r\n"
    hidden = hidden.replace(b"%b", API_KEY.encode())
    async with connected(shared) as (reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(hidden))
        writer.write(hidden + b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await read_answer(reader)).json() == {"status": "ok"}
        assert code_of(await read_answer(reader)) == (401, "unauthenticated")


# --- headers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/chat", "/health"])
@pytest.mark.parametrize(
    "line",
    [
        *(b"Authorization: Bearer x", b"Content-Encoding: identity", b"Content-Type: text/plain"),
        *(b"Host: x", b"X-API-Key: x", b"Transfer-Encoding: chunked"),
    ],
)
async def test_repeated_single_header_is_rejected(shared: Service, path: str, line: bytes) -> None:
    lines = [b"POST %b HTTP/1.1" % path.encode(), b"Connection: close", line, line]
    if not line.startswith(b"Host"):
        lines.append(b"Host: x")
    answer = await answer_to_raw(shared, b"\r\n".join([*lines, b"", b""]))
    assert code_of(answer) == (400, "bad_request")


async def test_content_length_with_transfer_encoding_is_rejected_and_closes_the_connection(
    shared: Service,
) -> None:
    head = POST_CHAT + b"Content-Length: 16\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with connected(shared) as (reader, writer):
        writer.write(head.replace(b"%b", API_KEY.encode()) + b"0\r\n\r\n")
        answer = await read_answer(reader)
        assert code_of(answer) == (400, "bad_request")
        assert answer.headers["connection"] == "close", "an idle one is closed too, but later"
        assert await reader.read() == b""


async def test_request_id_is_generated_for_each_request(shared: Service) -> None:
    given = {"X-Request-Id": "0" * 32}
    answers = [await shared.client.get("/health", headers=given) for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids - {"0" * 32}) == 2


# --- hosts and paths ----------------------------------------------------------------------------


HOSTS = [
    *((b"chat.example.com", 200), (b"CHAT.example.com:8000", 200), (b"[::1]", 200)),
    *((b"[::1]:8000", 200), (b"::1", 400), (b"[::2]", 400), (b"", 400), (b"127.0.0.1", 400)),
    *((b"chat.example.com.evil.org", 400), (b"evil.org:chat.example.com", 400)),
    *((b"chat.example.com:8000:8000", 400), (b"chat.example.com:x", 400)),
    *((b"chat.example.com@evil.org", 400), (b"evil.org#chat.example.com", 400)),
]


async def test_only_allowed_hosts_are_served() -> None:
    async with answering(allowed_hosts="Chat.Example.com [::1]") as service:
        for host, status in HOSTS:
            request = b"GET /health HTTP/1.1\r\nHost: %h\r\nX-Forwarded-Host: [::1]\r\n\r\n"
            answer = await answer_to_raw(service, request.replace(b"%h", host))
            assert answer.status_code == status, host


async def test_host_in_the_request_line_does_not_bypass_the_check_of_the_header() -> None:
    async with answering(allowed_hosts="chat.example.com") as service:
        for target, host in (
            (b"evil.org", b"chat.example.com"),
            (b"chat.example.com", b"evil.org"),
        ):
            request = b"GET http://%b/health HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host)
            assert (await answer_to_raw(service, request)).status_code in {400, 401}


@pytest.mark.parametrize("root_path", ["", "/assistant", "/health", "/docs"])
async def test_only_the_exact_public_paths_need_no_key(root_path: str) -> None:
    targets = [
        *("//health", "/health/", "/health//", "/./health", "/HEALTH", "/health;x=1", "/health%20"),
        *("/docs/../chat", "/docs/..%2fsessions", "/health/sessions", "/health%00", "/health%2f"),
        *("http://x/health", "*", "/%", "/sessions", "/sessions?/health", "/sessions%3f/health"),
        *("/sessions#/health", f"{root_path}/sessions", f"{root_path}//sessions"),
        f"/health{root_path}/sessions",
    ]
    async with answering(root_path=root_path) as service:
        for target in targets:
            request = f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            answer = await answer_to_raw(service, request)
            assert code_of(answer) == (401, "unauthenticated"), target


@pytest.mark.parametrize("target", ["/health", "/%68ealth", "/health?x=/chat", "/health?"])
async def test_public_path_is_compared_after_decoding_and_without_the_query(
    shared: Service, target: str
) -> None:
    answer = await answer_to_raw(shared, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.json() == {"status": "ok"}


@pytest.mark.parametrize("method", [b"get", b"Get", b"GET\x0b", b"post", b"Post"])
async def test_method_is_case_sensitive(shared: Service, method: bytes) -> None:
    request = POST_CHAT.replace(b"POST", method) + b"Content-Length: 16\r\n\r\n" + HELLO
    answer = await answer_to_raw(shared, request)
    assert answer.status_code in {400, 405}


# --- what every answer carries ------------------------------------------------------------------


def assert_security_headers(answer: httpx.Response) -> None:
    assert ON_EVERY_ANSWER.items() <= dict(answer.headers).items()
    is_file = "etag" in answer.headers  # of /docs: public data
    assert answer.headers["cache-control"] == ("public, no-cache" if is_file else "no-store")
    assert len(answer.headers["x-request-id"]) == 32
    assert "server" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"])
async def test_every_response_has_the_security_headers(shared: Service, method: str) -> None:
    for path in {row.path for row in CALLS} | {"/nowhere", "/docs/"}:
        for caller in (shared.client, shared.anonymous):
            assert_security_headers(await caller.request(method, path))


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/openapi.json"])
async def test_head_of_a_public_path_responds_like_get_without_a_body(
    shared: Service, path: str
) -> None:
    got, asked = [await shared.anonymous.request(method, path) for method in ("GET", "HEAD")]
    assert (got.status_code, asked.status_code, asked.content) == (200, 200, b"")
    for name in ("content-type", "content-length", "cache-control"):
        assert asked.headers[name] == got.headers[name]


class BrokenStorage(InMemoryStorage):
    async def check(self) -> None:
        raise RuntimeError("a defect")


async def test_server_errors_streams_and_rejections_have_the_security_headers() -> None:
    model = ScriptedModel(lambda _: "Of course.")
    settings = settings_for_tests(mem_structured_enable=False)
    async with serving(settings, storage=BrokenStorage(), model=model) as service:
        with capture_logs():
            defect = await service.client.get("/ready")
        stream = await service.client.post("/chat", json={"prompt": "Hi"}, headers=SSE)
        large = await service.client.post("/chat", json={"prompt": "x" * 99_999})
    assert [a.status_code for a in (defect, stream, large)] == [500, 200, 413]
    for answer in (defect, stream, large):
        assert_security_headers(answer)


@pytest.mark.parametrize(
    ("line", "body", "status"), [(b"GET /health", b"", 200), (b"POST /chat", b"1\r\n{\r\n", 401)]
)
async def test_invalid_rest_of_an_answered_request_gets_no_second_response(
    shared: Service, line: bytes, body: bytes, status: int
) -> None:
    async with connected(shared) as (reader, writer):
        head = line + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + body)
        assert (await read_answer(reader)).status_code == status
        writer.write(b"zz\r\n")
        assert await reader.read() == b""


# --- pages of other origins ---------------------------------------------------------------------


async def test_preflight_allows_the_configured_origin(shared: Service) -> None:
    asking = PREFLIGHT | {"Origin": ORIGIN}
    answer = await shared.anonymous.options("/chat", headers=asking)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "x-api-key" in answer.headers["access-control-allow-headers"].lower()
    assert_security_headers(answer)


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example.com", "http://intranet.example.com", "null", f"{ORIGIN}:8443"),
        *(f"{ORIGIN}.evil.org", f"{ORIGIN}/", ORIGIN.upper(), ""),
    ],
)
async def test_other_origins_are_not_allowed(shared: Service, origin: str) -> None:
    asking = PREFLIGHT | {"Origin": origin}
    for answer in (
        await shared.anonymous.options("/chat", headers=asking),
        await shared.client.get("/sessions", headers={"Origin": origin}),
    ):
        assert "access-control-allow-origin" not in answer.headers
        assert_security_headers(answer)


async def test_page_of_an_allowed_origin_can_read_error_responses(shared: Service) -> None:
    for answer in (
        await shared.client.get("/sessions", headers={"Origin": ORIGIN}),
        await shared.anonymous.get("/sessions", headers={"Origin": ORIGIN}),
        await shared.client.get("/nowhere", headers={"Origin": ORIGIN}),
    ):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
        assert "access-control-allow-credentials" not in answer.headers


async def test_wildcard_origin_is_allowed_without_credentials_only() -> None:
    async with answering(cors_allow_origins="*") as service:
        for answer in (
            await service.anonymous.options("/chat", headers=PREFLIGHT | {"Origin": ORIGIN}),
            await service.client.get("/sessions", headers={"Origin": ORIGIN, "Cookie": "a=b"}),
        ):
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in answer.headers


async def test_no_origin_is_allowed_by_default() -> None:
    async with answering() as service:
        preflight = await service.anonymous.options("/chat", headers=PREFLIGHT | {"Origin": ORIGIN})
        answer = await service.client.get("/sessions", headers={"Origin": ORIGIN})
    assert (preflight.status_code, answer.status_code) == (401, 200)
    assert not [name for name in (*preflight.headers, *answer.headers) if "access-control" in name]


# --- connections --------------------------------------------------------------------------------


async def test_idle_connection_is_kept_for_the_configured_time(shared: Service) -> None:
    assert shared.server.config.timeout_keep_alive == 75
    async with answering(keep_alive_s=1) as service, connected(service) as (reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await read_answer(reader)).status_code == 200
        began = asyncio.get_running_loop().time()
        assert await reader.read() == b""
        assert asyncio.get_running_loop().time() - began > 0.9
