"""Bytes that no client library sends: each gets a response, none a 5xx, and the service survives."""

import asyncio
import gzip
import logging
from collections.abc import AsyncGenerator, Generator

import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from chatbot.adapters.llm.scripted import ScriptedModel
from raw_http import connected, read_answer
from service import API_KEY, PROBLEM_KEYS, Service, serving, settings_for_tests

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = f"X-API-Key: {API_KEY}".encode()
JSON = b"Content-Type: application/json"


def head(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([line, b"Host: x", *headers, b"", b""])


def get(target: bytes, *headers: bytes) -> bytes:
    return head(b"GET " + target + b" HTTP/1.1", *headers)


def post(body: bytes, *headers: bytes) -> bytes:
    """A POST /chat with the API key; the caller declares the length."""
    return head(b"POST /chat HTTP/1.1", KEY, JSON, *headers) + body


def sized(body: bytes, *headers: bytes) -> bytes:
    return post(body, b"Content-Length: %d" % len(body), *headers)


def chunked(body: bytes, *headers: bytes) -> bytes:
    return post(body, b"Transfer-Encoding: chunked", *headers)


NOT_HTTP = {
    "line ends only": b"\r\n\r\n",
    "NUL bytes": b"\0\0\0\0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "two spaces": head(b"GET  /health HTTP/1.1"),
    "tabs": head(b"GET\t/health\tHTTP/1.1"),
    "method outside ASCII": head(b"G\xffT /health HTTP/1.1"),
    "target outside ASCII": head("GET /ñ HTTP/1.1".encode()),
    "NUL in the target": get(b"/\0"),
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": get(b"/health", b"Host: y"),
    "NUL in a header": get(b"/health", b"X: a\0b"),
    "space in a header's name": get(b"/health", b"X y: a"),
    "space before the colon": get(b"/health", b"X : a"),
    "header without a name": get(b"/health", b": a"),
    "header without a colon": get(b"/health", b"abc"),
    "header without an end": b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000,
    "two lengths": sized(b"{}", b"Content-Length: 3"),
    "two lengths in one": post(b"{}", b"Content-Length: 2, 3"),
    "negative length": post(b"{}", b"Content-Length: -2"),
    "signed length": post(b"{}", b"Content-Length: +2"),
    "hexadecimal length": post(b"{}", b"Content-Length: 0x2"),
    "length with underscore": post(b"{}", b"Content-Length: 0_2"),
    "empty length": post(b"{}", b"Content-Length:"),
    "length of 5,000 digits": post(b"{}", b"Content-Length: " + b"9" * 5000),
    "unknown transfer coding": post(b"0\r\n\r\n", b"Transfer-Encoding: gzip, chunked"),
    "no transfer coding": post(b"{}", b"Transfer-Encoding: identity"),
    "hidden transfer coding": post(b"0\r\n\r\n", b"Transfer-Encoding: \x0bchunked"),
    "transfer coding twice": chunked(b"0\r\n\r\n", b"Transfer-Encoding: chunked"),
    "chunk without a size": chunked(b"zz\r\n{}\r\n"),
    "chunk of negative size": chunked(b"-2\r\n{}\r\n"),
    "chunk of endless size": chunked(b"f" * 30 + b"\r\n{}\r\n"),
    "chunk without an end": chunked(b"2\r\n{}xx"),
    "bad chunk where no body is read": get(b"/health", b"Transfer-Encoding: chunked") + b"zz\r\n",
}
ANSWERED = {
    "HTTP/2 in clear": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [401, 400]),
    "garbage behind a request": (get(b"/health") + b"garbage\r\n\r\n", [200, 400]),
    "more than the length": (sized(b"{}") + b"garbage\r\n\r\n", [422, 400]),
    "three at once": (get(b"/health") + sized(b"{}") + get(b"/health"), [200, 422, 200]),
    "absolute target": (get(b"http://evil.example/me", KEY), [404]),
    "target without a slash": (get(b"health", KEY), [404]),
    "target is a query": (get(b"?x", KEY), [404]),
    "star": (head(b"OPTIONS * HTTP/1.1", KEY), [404]),
    "CONNECT": (head(b"CONNECT evil.example:80 HTTP/1.1", KEY), [404]),
    "method in small letters": (head(b"get /health HTTP/1.1"), [405]),
    "unknown method on a static file": (head(b"BREW /docs HTTP/1.1"), [405]),
    "double slash is not the public path": (get(b"//health"), [401]),
    "dots do not lead out of a public path": (get(b"/docs/../me"), [401]),
    "encoded dots neither": (get(b"/docs/%2e%2e/me"), [401]),
    "encoded slashes neither": (get(b"/docs%2f..%2fme"), [401]),
    "backslashes neither": (get(b"/docs\\..\\me"), [401]),
    "fragment neither": (get(b"/me#/health"), [401]),
    "parameter neither": (get(b"/me;/health"), [401]),
    "encoded NUL in the path": (get(b"/sessions/%00", KEY), [404]),
    "broken percents in the path": (get(b"/sessions/%zz%ff%ed%a0%80", KEY), [404]),
    "path of 10,000": (get(b"/" + b"a" * 10_000, KEY), [404]),
    "query of 10,000": (get(b"/sessions?after=" + b"a" * 10_000, KEY), [422]),
    "number of 5,000 digits": (
        get(b"/sessions/%b?before=" % (b"0" * 32) + b"9" * 5000, KEY),
        [422],
    ),
    "NUL in the cursor": (get(b"/sessions?after=%ff%00-" + b"0" * 32, KEY), [422]),
    "cursor beyond all time": (get(b"/sessions?after=" + b"f" * 99 + b"-" + b"0" * 32, KEY), [422]),
    "key outside ASCII": (get(b"/me", b"X-API-Key: \xff\xfe"), [401]),
    "token outside ASCII": (get(b"/me", KEY, b"Authorization: Bearer \xff\xfe"), [401]),
    "key twice": (get(b"/me", KEY, KEY), [400]),
    "length and chunks": (chunked(b"0\r\n\r\n", b"Content-Length: 5"), [400]),
    "length of 19 digits": (post(b"{}", b"Content-Length: " + b"9" * 19), [413]),
    "trailer that looks like a key": (chunked(b"2\r\n{}\r\n0\r\nX-API-Key: y\r\n\r\n"), [422]),
    "body where none is read": (get(b"/health", b"Content-Length: 99999") + b"x" * 99_999, [200]),
    "unknown expectation": (sized(b"{}", b"Expect: banana"), [422]),
    "1e999": (sized(b'{"prompt": 1e999}'), [400]),
    "nested 32 deep": (sized(b'{"prompt": ' + b"[" * 31 + b"]" * 31 + b"}"), [422]),
    "UTF-16 without a mark": (sized('{"prompt": "Hi"}'.encode("utf-16-le")), [400]),
    "compressed body": (sized(gzip.compress(b"{}"), b"Content-Encoding: gzip"), [415]),
}
WAITING = {
    "nothing": b"",
    "half a request line": b"GET /hea",
    "line ends without a line feed": b"GET /health HTTP/1.1\rHost: x\r\r",
    "half a body": post(b"{", b"Content-Length: 2"),
    "half a chunk": chunked(b"ffffffff\r\n{"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncGenerator[Service]:
    settings = settings_for_tests(mem_structured_enable=False)
    async with serving(settings, model=ScriptedModel(lambda _: "Of course.")) as service:
        yield service


@pytest.fixture(autouse=True)
def nothing_unexpected(caplog: pytest.LogCaptureFixture) -> Generator[None]:
    """Fail if our log or asyncio's reports a defect that the client does not see."""
    with capture_logs() as lines:
        yield
    assert [line for line in lines if line["log_level"] == "error"] == []
    records = caplog.get_records("call")
    assert [record for record in records if record.levelno >= logging.ERROR] == []


async def next_answer(reader: asyncio.StreamReader) -> httpx.Response:
    """The next response, checked to be a problem document from 400 on."""
    answer = await read_answer(reader)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    if answer.status_code >= 400:
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem.keys() - {"errors"} == PROBLEM_KEYS
        assert problem["status"] == answer.status_code
        assert problem["instance"] == answer.headers["x-request-id"]
    return answer


async def exchange(service: Service, data: bytes, count: int) -> list[int]:
    """The statuses of this many responses; no other follows, and the service stays up."""
    async with connected(service) as (reader, writer):
        writer.write(data)
        statuses = [(await next_answer(reader)).status_code for _ in range(count)]
        writer.write_eof()
        assert await reader.read() == b""
    assert (await service.anonymous.get("/health")).status_code == 200
    return statuses


@pytest.mark.parametrize("data", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_invalid_http_gets_a_problem_and_closes_the_connection(
    shared: Service, data: bytes
) -> None:
    async with connected(shared) as (reader, writer):
        writer.write(data)
        answer = await next_answer(reader)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
        assert answer.headers["connection"] == "close"
        assert await reader.read() == b""
    assert (await shared.anonymous.get("/health")).status_code == 200


@pytest.mark.parametrize(("data", "statuses"), ANSWERED.values(), ids=ANSWERED)
async def test_unusual_request_gets_the_expected_status(
    shared: Service, data: bytes, statuses: list[int]
) -> None:
    assert await exchange(shared, data, len(statuses)) == statuses


@pytest.mark.parametrize("data", WAITING.values(), ids=WAITING)
async def test_client_can_disconnect_in_the_middle_of_a_request(
    shared: Service, data: bytes
) -> None:
    assert await exchange(shared, data, 0) == []


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
async def test_offer_of_another_protocol_is_ignored_without_a_warning(
    shared: Service, caplog: pytest.LogCaptureFixture, protocol: bytes
) -> None:
    offer = get(b"/health", b"Connection: Upgrade", b"Upgrade: " + protocol)
    assert await exchange(shared, offer * 2, 2) == [200, 200]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
