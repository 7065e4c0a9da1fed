"""X-Forwarded-* headers are trusted only from configured proxies."""

import httpx
import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from chatbot.entrypoints.server.uvicorn_server import build_config
from service import settings_for_tests

FORWARDED = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example.com",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": "203.0.113.9",
    "Forwarded": "for=203.0.113.9;proto=https;host=evil.example.com",
}
Seen = dict[str, str]


async def report_caller(scope: Scope, receive: Receive, send: Send) -> None:
    """The caller as an application sees it."""
    seen = {
        "client": scope["client"][0],
        "scheme": scope["scheme"],
        "host": dict(scope["headers"])[b"host"].decode(),
        "root_path": scope["root_path"],
    }
    await JSONResponse(seen)(scope, receive, send)


def client_behind_uvicorn(client_ip: str, trusted: str) -> httpx.AsyncClient:
    """A client at this address, connected to an application behind the service's uvicorn wrapper."""
    settings = settings_for_tests(trusted_proxies=trusted)
    config = build_config(report_caller, settings)
    config.load()
    transport = httpx.ASGITransport(config.loaded_app, client=(client_ip, 4711))
    return httpx.AsyncClient(transport=transport, base_url="http://chat.example.com")


async def seen_with(client: httpx.AsyncClient, **changed: str) -> Seen:
    names = {name.replace("_", "-"): value for name, value in changed.items()}
    found: Seen = (await client.get("/", headers=FORWARDED | names)).json()
    return found


@pytest.mark.parametrize(
    ("client_ip", "trusted"),
    [
        *(("127.0.0.1", ""), ("127.0.0.1", "10.0.0.2 127.0.0.2, 192.168.0.0/16 ::1")),
        *(("::1", ""), ("::1", "127.0.0.1 ::2 fd00::/8")),
    ],
)
async def test_forwarded_headers_of_others_change_nothing(
    client_ip: str, trusted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # uvicorn's own setting is not ours
    async with client_behind_uvicorn(client_ip, trusted) as client:
        seen = await seen_with(client)
    assert seen == {
        "client": client_ip,
        "scheme": "http",
        "host": "chat.example.com",
        "root_path": "",
    }


@pytest.mark.parametrize(
    ("client_ip", "trusted"),
    [
        *(("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "10.0.0.2,127.0.0.0/8")),
        *(("::1", "::1"), ("::1", "0:0:0:0:0:0:0:1"), ("::1", "::/64")),
    ],
)
async def test_configured_proxy_names_the_caller_and_the_scheme_and_nothing_else(
    client_ip: str, trusted: str
) -> None:
    async with client_behind_uvicorn(client_ip, trusted) as client:
        seen = await seen_with(client)
        assert seen == {
            "client": "203.0.113.7",
            "scheme": "https",
            "host": "chat.example.com",
            "root_path": "",
        }
        assert (await seen_with(client, X_Forwarded_Proto="gopher"))["scheme"] == "http"


@pytest.mark.parametrize(
    ("forwarded_for", "caller"),
    [
        ("203.0.113.1, 203.0.113.7", "203.0.113.7"),  # what the caller itself wrote comes first
        ("203.0.113.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("127.0.0.1, 203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("", "127.0.0.1"),
    ],
)
async def test_client_ip_is_the_last_address_that_is_not_a_proxy(
    forwarded_for: str, caller: str
) -> None:
    async with client_behind_uvicorn("127.0.0.1", "127.0.0.1 10.0.0.2") as client:
        assert (await seen_with(client, X_Forwarded_For=forwarded_for))["client"] == caller
