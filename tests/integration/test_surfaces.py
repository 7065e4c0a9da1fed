"""A surface with another credential, error format, body type and size, beside the native one."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from dataclasses import replace

import httpx
import pytest
import pytest_asyncio
from starlette.requests import Request
from starlette.types import Message, Scope
from structlog.testing import capture_logs

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.domain.errors import ModelError
from chatbot.entrypoints.http.body import BodyFormat, receive_body
from chatbot.entrypoints.http.surfaces import Surfaces
from conversation import eventually
from partner_surface import (
    KEY,
    MAX_JSON_BYTES,
    MAX_UPLOAD_BYTES,
    PREFIX,
    Keys,
    LineEncoder,
    partner_surface,
)
from raw_http import answer_to_raw, connected, read_answer
from service import API_KEY, Service, code_of, serving, settings_for_tests

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARY = "canary-4711"
BEARER = {"Authorization": f"Bearer {KEY}"}
JSON = b"Content-Type: application/json"
FORM = b"Content-Type: multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n%b\r\n--b--\r\n'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncGenerator[Service]:
    settings = settings_for_tests(mem_structured_enable=False)
    model = ScriptedModel(lambda _: "Of course.")
    async with serving(settings, surfaces=[partner_surface(Keys())], model=model) as service:
        yield service


def assert_error(answer: httpx.Response, status: int, code: str) -> None:
    """Check that the body is the error envelope of the surface."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    body = answer.json()
    assert body.keys() == {"error"}
    assert body["error"]["code"] == code
    assert body["error"]["message"]
    assert body["error"]["request"] == answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert CANARY not in answer.text


def raw(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    lines = [line + b" HTTP/1.1", b"Host: x", b"Authorization: Bearer " + KEY.encode(), *headers]
    return b"\r\n".join([*lines, b"", body])


def sized(path: bytes, body: bytes, *headers: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return raw(b"POST /partner" + path, length, *headers, body=body)


def chunked(path: bytes, body: bytes, *headers: bytes) -> bytes:
    head = raw(b"POST /partner" + path, b"Transfer-Encoding: chunked", *headers)
    return head + b"%x\r\n%b\r\n" % (len(body), body)


# --- who is calling -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {KEY}"},
        {"X-API-Key": API_KEY},
        {"X-API-Key": KEY},
    ],
)
async def test_only_the_credential_of_the_surface_opens_it(
    shared: Service, headers: dict[str, str]
) -> None:
    for path in ("/whoami", "/unknown", ""):
        answer = await shared.anonymous.get(f"{PREFIX}{path}", headers=headers)
        assert_error(answer, 401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_credential_of_the_surface_opens_no_other(shared: Service) -> None:
    for headers in (BEARER, {"X-API-Key": KEY}):
        answer = await shared.anonymous.get("/sessions", headers=headers)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.status_code == 401


async def test_caller_is_the_principal_from_the_lookup_and_is_logged(shared: Service) -> None:
    with capture_logs() as lines:
        answer = await shared.anonymous.get(f"{PREFIX}/whoami", headers=BEARER)
    assert answer.json() == {"client": "partner"}
    assert [line["client"] for line in lines if line["event"] == "request"] == ["partner"]


@pytest.mark.parametrize(
    "path", [f"{PREFIX}x/status", f"/x{PREFIX}/status", f"/{PREFIX}/status", "/PARTNER/status"]
)
async def test_path_that_only_looks_like_the_prefix_is_native(shared: Service, path: str) -> None:
    answer = await answer_to_raw(shared, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert code_of(answer) == (401, "unauthenticated")


async def test_public_path_needs_no_credential_and_its_neighbours_do(shared: Service) -> None:
    assert (await shared.anonymous.get(f"{PREFIX}/status")).json() == {"status": "ok"}
    for path in (f"{PREFIX}/status/", f"{PREFIX}/health"):
        assert_error(await shared.anonymous.get(path), 401, "invalid_api_key")


async def test_failed_lookup_is_a_surface_error_and_is_not_cached() -> None:
    keys = Keys()
    surface = partner_surface(keys)
    async with serving(surfaces=[surface], model=ScriptedModel([])) as service:
        keys.is_down = True
        with capture_logs() as lines:
            down = await service.anonymous.get(f"{PREFIX}/whoami", headers=BEARER)
        keys.is_down = False
        up = await service.anonymous.get(f"{PREFIX}/whoami", headers=BEARER)
    assert_error(down, 503, "storage_unavailable")
    assert down.headers["retry-after"] == "5"
    assert [line["cause"] for line in lines if "cause" in line]
    assert up.status_code == 200


async def test_revoked_key_is_rejected_within_five_seconds() -> None:
    keys = Keys()
    surface = partner_surface(keys)
    async with serving(surfaces=[surface], model=ScriptedModel([])) as service:
        statuses = []
        for keys.now in (0.0, 4.9, 5.0):
            answer = await service.anonymous.get(f"{PREFIX}/whoami", headers=BEARER)
            statuses.append(answer.status_code)
            keys.clients.clear()
    assert statuses == [200, 200, 401]


# --- how an error looks -------------------------------------------------------------------------


async def test_every_error_is_in_the_envelope_of_the_surface(shared: Service) -> None:
    async def call(method: str, path: str, **given: object) -> httpx.Response:
        return await shared.anonymous.request(method, PREFIX + path, headers=BEARER, **given)  # type: ignore[arg-type] # what the caller says

    with capture_logs() as lines:
        defect = await call("GET", "/defect")
    assert_error(defect, 500, "internal_error")
    assert [line["event"] for line in lines if "exc_info" in line] == ["unexpected error"]
    assert_error(await call("GET", "/unknown"), 404, "not_found")
    wrong_method = await call("DELETE", "/whoami")
    assert_error(wrong_method, 405, "method_not_allowed")
    assert wrong_method.headers["allow"] == "GET"
    busy = await call("GET", "/busy")
    assert_error(busy, 409, "session_busy")
    assert busy.headers["retry-after"] == "1"
    for answer, where in (
        (await call("GET", f"/numbers?n={CANARY}"), ["query", "n"]),
        (await call("POST", "/questions", json={"text": 1}), ["body", "text"]),
        (await call("POST", "/questions", json={"text": "", CANARY: 1}), ["body"]),
        (await call("POST", "/files", files={"other": CANARY}), ["body", "file"]),
    ):
        assert_error(answer, 422, "invalid_request")
        assert answer.json()["error"]["where"][0]["loc"] == where
    unknown = await call("POST", "/questions", json={"text": "", CANARY: 1})
    assert "Allowed: text." in unknown.text


ERRORS = {
    "repeated header": (raw(b"GET /partner/status", b"Authorization: x"), 400, "bad_request"),
    "length and chunks": (
        raw(b"POST /partner/files", b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        *(400, "bad_request"),
    ),
    "not JSON": (sized(b"/questions", b'{"text": NaN}', JSON), 400, "bad_request"),
    "too large JSON": (
        sized(b"/questions", b"x" * (MAX_JSON_BYTES + 1), JSON),
        *(413, "body_too_large"),
    ),
    "JSON that has no declared length": (
        chunked(b"/questions", b"x" * (MAX_JSON_BYTES + 1), JSON),
        *(413, "body_too_large"),
    ),
    "too large upload": (
        sized(b"/files", PART % (b"x" * MAX_UPLOAD_BYTES), FORM),
        *(413, "body_too_large"),
    ),
    "upload that has no declared length": (
        chunked(b"/files", PART % (b"x" * MAX_UPLOAD_BYTES), FORM),
        *(413, "body_too_large"),
    ),
    "slow upload": (
        raw(b"POST /partner/files", b"Content-Length: 9", FORM),
        408,
        "request_timeout",
    ),
    "upload without a boundary": (
        sized(b"/files", PART % b"x", b"Content-Type: multipart/form-data"),
        *(400, "bad_request"),
    ),
    "garbage as upload": (sized(b"/files", b"canary-4711", FORM), 400, "bad_request"),
    "compressed upload": (
        sized(b"/files", PART % b"x", FORM, b"Content-Encoding: gzip"),
        *(415, "unsupported_media_type"),
    ),
    "text": (
        sized(b"/files", b"canary-4711", b"Content-Type: text/plain"),
        *(415, "unsupported_media_type"),
    ),
    "too much text": (
        sized(b"/files", b"x" * (MAX_JSON_BYTES + 1), b"Content-Type: text/plain"),
        *(413, "body_too_large"),
    ),
    "JSON in another charset": (
        sized(b"/questions", b'{"text": "x"}', JSON + b"; charset=latin-1"),
        *(415, "unsupported_media_type"),
    ),
    "JSON where a file is due": (sized(b"/files", b"{}", JSON), 422, "invalid_request"),
    "a file where JSON is due": (sized(b"/questions", PART % b"x", FORM), 422, "invalid_request"),
}


@pytest.mark.parametrize(("request_", "status", "code"), ERRORS.values(), ids=ERRORS)
async def test_rejected_request_gets_the_envelope_of_the_surface(
    shared: Service, request_: bytes, status: int, code: str
) -> None:
    assert_error(await answer_to_raw(shared, request_), status, code)
    assert (await shared.anonymous.get("/health")).status_code == 200


async def test_native_paths_keep_their_own_bodies_and_sizes(shared: Service) -> None:
    large = await shared.client.post("/chat", json={"prompt": "x" * 2000})
    upload = await shared.client.post("/sessions/new", files={"file": b"x"})
    assert large.status_code == 200
    assert code_of(upload) == (415, "unsupported_media_type")


# --- bodies -------------------------------------------------------------------------------------


async def test_upload_arrives_byte_for_byte_however_it_is_sent(shared: Service) -> None:
    content = bytes(range(256)) * 1000
    files = {"file": ("a.bin", content)}
    plain = await shared.anonymous.post(
        f"{PREFIX}/files", files=files, data={"title": "Ñandú"}, headers=BEARER
    )
    assert plain.json() == {
        "title": "Ñandú",
        "name": "a.bin",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    in_pieces = chunked(b"/files", PART % b"small", FORM) + b"0\r\n\r\n"
    assert (await answer_to_raw(shared, in_pieces)).json()["size"] == 5


async def test_upload_larger_than_a_json_body_is_not_refused_for_its_size(shared: Service) -> None:
    for size in (MAX_JSON_BYTES * 2, MAX_UPLOAD_BYTES - 500):
        answer = await shared.anonymous.post(
            f"{PREFIX}/files", files={"file": b"x" * size}, headers=BEARER
        )
        assert answer.json()["size"] == size


async def test_client_that_leaves_during_an_upload_leaves_nothing_behind(shared: Service) -> None:
    with capture_logs() as lines:
        async with connected(shared) as (_, writer):
            writer.write(raw(b"POST /partner/files", b"Content-Length: 99999", FORM) + PART[:70])
            await writer.drain()
        await eventually(lambda: any(line["event"] == "request" for line in lines))
    assert [line["log_level"] for line in lines] == ["info"]


async def test_body_of_a_delete_is_decoded_and_bounded_like_any_other(shared: Service) -> None:
    path = f"{PREFIX}/files"

    async def delete(content: bytes, media_type: str = "application/json") -> httpx.Response:
        headers = BEARER | {"Content-Type": media_type}
        return await shared.anonymous.request("DELETE", path, content=content, headers=headers)

    assert (await delete(b'{"text": "all"}')).json() == {"deleted": "all"}
    assert_error(await delete(b'{"text": "a", "text": "b"}'), 400, "bad_request")
    assert_error(await delete(b" " * (MAX_JSON_BYTES + 1)), 413, "body_too_large")
    assert_error(await delete(b"all", "text/plain"), 415, "unsupported_media_type")
    assert_error(await delete(b""), 422, "invalid_request")


async def test_deadline_ends_with_the_upload_and_not_with_what_follows() -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"x", "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        if len(messages) == 1:
            await asyncio.sleep(0.1)
        return messages.pop(0)

    upload = BodyFormat(media_type="text/plain", max_bytes=1, deadline_s=0.05)
    scope: Scope = {"type": "http", "method": "POST", "state": {}}
    bounded = await receive_body([upload], scope, {b"content-type": b"text/plain"}, receive)
    assert [(await bounded())["type"] for _ in range(2)] == ["http.request", "http.disconnect"]


async def test_body_is_decoded_once(shared: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode_again(_: Request) -> None:
        raise AssertionError("The guard has decoded the body already.")

    monkeypatch.setattr(Request, "json", decode_again)
    answer = await shared.anonymous.post(f"{PREFIX}/questions", json={"text": "Hi"}, headers=BEARER)
    assert answer.status_code == 200


async def test_upload_without_a_key_is_refused_before_it_is_sent(shared: Service) -> None:
    head = raw(b"POST /partner/files", b"Content-Length: 200000", FORM, b"Expect: 100-continue")
    async with connected(shared) as (reader, writer):
        writer.write(head.replace(KEY.encode(), b"wrong"))
        assert (await read_answer(reader)).status_code == 401, "and not 100"


# --- answers ------------------------------------------------------------------------------------


async def test_response_can_have_another_media_type_than_json(shared: Service) -> None:
    answer = await shared.anonymous.get(f"{PREFIX}/numbers?n=2", headers=BEARER)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text == "n\r\n0\r\n1"


async def test_turn_is_streamed_in_the_format_of_the_surface(shared: Service) -> None:
    answer = await shared.anonymous.post(f"{PREFIX}/questions", json={"text": "Hi"}, headers=BEARER)
    assert answer.headers["content-type"] == LineEncoder.media_type.decode()
    assert answer.text == 'data: "Of course."\n\ndata: [DONE]\n\n'


async def test_turn_that_fails_before_the_stream_is_an_error_of_the_surface() -> None:
    model = ScriptedModel(lambda _: ModelError("No use."))
    async with serving(surfaces=[partner_surface(Keys())], model=model) as service:
        answer = await service.anonymous.post(
            f"{PREFIX}/questions", json={"text": "Hi"}, headers=BEARER
        )
    assert_error(answer, 502, "model_error")


# --- several surfaces ---------------------------------------------------------------------------


async def test_longest_prefix_wins_whatever_the_order() -> None:
    outer, inner = partner_surface(Keys()), replace(partner_surface(Keys()), routers=())
    inner = replace(inner, prefix=f"{PREFIX}/inner")
    native = replace(inner, prefix="")
    for order in ([native, outer, inner], [inner, outer, native]):
        surfaces = Surfaces(order)
        assert surfaces.of(f"{PREFIX}/inner/x") is inner
        assert surfaces.of(f"{PREFIX}/inner") is inner
        assert surfaces.of(f"{PREFIX}/innermost") is outer
        assert surfaces.of(PREFIX) is outer
        assert surfaces.of("/partners") is native
        assert surfaces.of("*") is native


async def test_route_outside_of_its_surface_is_refused_at_start() -> None:
    native = replace(partner_surface(Keys()), prefix="", routers=())
    elsewhere = replace(partner_surface(Keys()), prefix="/elsewhere")
    with pytest.raises(ValueError, match=r"/partner/status is outside of its surface"):
        Surfaces([native, elsewhere])
