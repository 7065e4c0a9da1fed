"""`chatbot doctor` on the connection to the model: one line for each fault, with its fix."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import pytest

from chatbot.entrypoints.commands.doctor import examine
from chatbot.entrypoints.http.app import create_app
from chatbot.entrypoints.settings.subject import SettingsError
from company_network import Authority, Proxy
from postgres import free_port
from provider import SECRET, FakeProvider, Fault, Raw, closed_port_url
from redis_server import RedisServer
from service import API_KEY, JWT_SECRET
from tcp_server import tcp_server

SECRETS = ("sk-ours-and-only-ours", "open-sesame", "p%40ss")


class DoctorEnvironment:
    """An environment and the findings of doctor in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, company: Authority) -> None:
        self.company = company
        self.transport = "aiohttp"
        self.stack = AsyncExitStack()
        self.set = monkeypatch.setenv

    async def provider(self, *, tls: Any = None) -> FakeProvider:
        """Start a provider and configure it."""
        provider = await self.stack.enter_async_context(FakeProvider(tls=tls))
        self.set("OPENAI_BASE_URL", provider.base_url)
        return provider

    async def proxy(self, **given: Any) -> Proxy:
        """Start a proxy and configure it."""
        proxy = await self.stack.enter_async_context(Proxy(**given))
        self.set("HTTPS_PROXY", proxy.url)
        return proxy

    async def model(self) -> str:
        """The finding of doctor about the model."""
        return await self.says("model")

    async def says(self, subject: str) -> str:
        findings = await asyncio.to_thread(lambda: [str(one) for one in examine()])
        [line] = [one for one in findings if one[6:].startswith(f"{subject}: ")]
        assert "\n" not in line
        assert line.count("Fix: ") == (1 if line.startswith("FAIL") else 0), line
        assert not any(secret in line for secret in SECRETS)
        return line


@pytest.fixture
async def doctor_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[DoctorEnvironment]:
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    company = Authority(tmp_path)
    values = {
        "API_KEY": API_KEY,
        "JWT_SECRET": JWT_SECRET,
        "STORAGE_URL": "memory:",
        "GENKIT_MODEL": "openai/fake-model",
        "OPENAI_API_KEY": SECRETS[0],
        "SSL_CERT_FILE": str(company.file),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    doctor_environment = DoctorEnvironment(monkeypatch, company)
    async with doctor_environment.stack:
        yield doctor_environment


@pytest.fixture(params=["aiohttp", "sdk"])
async def on_each_wire(
    doctor_environment: DoctorEnvironment, request: pytest.FixtureRequest
) -> DoctorEnvironment:
    doctor_environment.transport = request.param
    doctor_environment.set("MODEL_TRANSPORT", doctor_environment.transport)
    return doctor_environment


async def test_model_is_resolved_once_for_streaming_and_non_streaming_calls(
    on_each_wire: DoctorEnvironment,
) -> None:
    provider = await on_each_wire.provider(tls=on_each_wire.company.server("localhost"))
    for name in ("openai/fake-model", ""):
        on_each_wire.set("GENKIT_MODEL", name)
        provider.requests.clear()
        assert await on_each_wire.model() == "ok    model: openai/fake-model is served"
        asked = [(request.method, request.path) for request in provider.requests]
        assert asked == [("GET", "/v1/models"), *[("POST", "/v1/chat/completions")] * 2]
        for request in provider.requests:
            asked_by_sdk = "x-stainless-lang" in request.headers
            assert asked_by_sdk is (on_each_wire.transport == "sdk")


@pytest.mark.parametrize(
    ("named", "listed"),
    [("llama3.2", "llama3.2:latest"), ("llama3.2:latest", "llama3.2:latest"), ("a/b", "a/b")],
)
async def test_model_without_ollamas_tag_is_found(
    on_each_wire: DoctorEnvironment, named: str, listed: str
) -> None:
    provider = await on_each_wire.provider()
    provider.models = ["other:1b", listed]
    on_each_wire.set("GENKIT_MODEL", f"openai/{named}")
    assert await on_each_wire.model() == f"ok    model: openai/{named} is served"


async def test_model_with_another_tag_is_not_listed(on_each_wire: DoctorEnvironment) -> None:
    provider = await on_each_wire.provider()
    provider.models = ["llama3.2:1b"]
    on_each_wire.set("GENKIT_MODEL", "openai/llama3.2")
    assert "the provider does not list openai/llama3.2. Fix: " in await on_each_wire.model()


@pytest.mark.parametrize("models", [None, []], ids=["404", "empty"])
async def test_provider_without_a_list_of_models_is_tested_by_a_call(
    on_each_wire: DoctorEnvironment, models: list[str] | None
) -> None:
    provider = await on_each_wire.provider()
    provider.models = models
    assert (await on_each_wire.model()).startswith("ok    model: openai/fake-model answers; the ")
    provider.fault = Fault.NOT_FOUND
    line = await on_each_wire.model()
    assert line.startswith("FAIL  model: 127.0.0.1 does not know this path or model (404")


async def test_model_list_may_be_a_bare_array(on_each_wire: DoctorEnvironment) -> None:
    provider = await on_each_wire.provider()
    listed = Raw(pieces=[b'[{"id": "a-model"}]'], content_type="application/json")
    provider.raw = lambda body: None if body else listed
    on_each_wire.set("GENKIT_MODEL", "")
    assert await on_each_wire.model() == "ok    model: openai/a-model is served"


async def test_start_without_a_list_of_models_asks_for_the_name(
    doctor_environment: DoctorEnvironment,
) -> None:
    provider = await doctor_environment.provider()
    provider.models = None
    doctor_environment.set("GENKIT_MODEL", "")
    with pytest.raises(SettingsError, match=r"its models cannot be listed: .*Or set GENKIT_MODEL"):
        await asyncio.to_thread(create_app)


@pytest.mark.parametrize("named", ["openai/my-deployment", ""])
@pytest.mark.parametrize("models", [None, ["gpt-4.1", "gpt-4.1-mini"]], ids=["404", "base-models"])
async def test_deployment_of_azure_is_known_by_its_address(
    on_each_wire: DoctorEnvironment, named: str, models: list[str] | None
) -> None:
    provider = await on_each_wire.provider()
    provider.models = models
    path = "/openai/deployments/my-deployment"
    url = provider.base_url.replace("/v1", f"{path}/?api-version=2024-10-21&x=%26")
    on_each_wire.set("OPENAI_BASE_URL", url)
    on_each_wire.set("GENKIT_MODEL", named)
    assert (await on_each_wire.model()).startswith("ok    model: openai/my-deployment answers; ")
    asked = [(request.path, request.query) for request in provider.requests]
    calls = ["models", "chat/completions", "chat/completions"]
    assert asked == [(f"{path}/{call}", "api-version=2024-10-21&x=%26") for call in calls]
    assert all(request.headers["api-key"] == SECRETS[0] for request in provider.requests)


async def test_azure_deployment_behind_another_address_is_tested_by_a_call(
    on_each_wire: DoctorEnvironment,
) -> None:
    provider = await on_each_wire.provider()
    provider.models = ["gpt-4.1"]
    on_each_wire.set("OPENAI_BASE_URL", f"{provider.base_url}?api-version=preview")
    assert (await on_each_wire.model()).startswith("ok    model: openai/fake-model answers; the ")
    assert {request.query for request in provider.requests} == {"api-version=preview"}


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("response_format", "asked without response_format"),
        ("stream_options", "asked without stream_options"),
        ("max_tokens", "asked length limit as max_completion_tokens"),
        ("temperature", "asked without temperature"),
    ],
)
async def test_parameter_that_the_provider_refuses_is_reported(
    on_each_wire: DoctorEnvironment, parameter: str, said: str
) -> None:
    provider = await on_each_wire.provider()
    error = {"error": {"param": parameter, "code": "unsupported_parameter"}}
    refusal = Raw(pieces=[json.dumps(error).encode()], status=400, content_type="application/json")
    provider.raw = lambda body: refusal if parameter in body else None
    on_each_wire.set("MODEL_TEMPERATURE", "0.5")
    assert await on_each_wire.model() == f"ok    model: openai/fake-model is served; {said}"


async def test_key_for_azure_is_not_sent_to_others(on_each_wire: DoctorEnvironment) -> None:
    provider = await on_each_wire.provider()
    await on_each_wire.model()
    assert not any("api-key" in request.headers for request in provider.requests)


async def test_refusal_shows_its_status_and_identifiers_and_not_its_words(
    on_each_wire: DoctorEnvironment,
) -> None:
    provider = await on_each_wire.provider()
    provider.fault = Fault.BAD_REQUEST
    line = await on_each_wire.model()
    assert line.startswith("FAIL  model: 127.0.0.1 rejects the request (400 fake_error). Fix: ")
    assert SECRET not in line


async def test_name_that_dns_does_not_know(
    on_each_wire: DoctorEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6761: names below .invalid never resolve; faked, because offline DNS may be slow."""
    resolve = socket.getaddrinfo

    def of_this_machine(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in {"model.invalid", b"model.invalid"}:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", of_this_machine)
    on_each_wire.set("OPENAI_BASE_URL", "https://model.invalid/v1")
    line = await on_each_wire.model()
    assert line.startswith("FAIL  model: DNS cannot resolve model.invalid. Fix: check OPENAI_BASE_")
    on_each_wire.set("HTTPS_PROXY", "http://model.invalid:3128")
    line = await on_each_wire.model()
    assert "cannot connect to the proxy model.invalid:3128. Fix: check HTTPS_PROXY" in line


async def test_unreachable_provider_is_named(on_each_wire: DoctorEnvironment) -> None:
    url = closed_port_url()
    on_each_wire.set("OPENAI_BASE_URL", url)
    line = await on_each_wire.model()
    assert line.startswith(f"FAIL  model: cannot connect to {url[7:-3]}. Fix: check OPENAI_BASE_")


async def test_unreachable_proxy_is_named(on_each_wire: DoctorEnvironment) -> None:
    proxy = closed_port_url()[7:-3]
    on_each_wire.set("HTTPS_PROXY", f"http://ana:open-sesame@{proxy}")
    on_each_wire.set("OPENAI_BASE_URL", "https://model.example/v1")
    line = await on_each_wire.model()
    assert line.startswith(
        f"FAIL  model: cannot connect to the proxy {proxy}. Fix: check HTTPS_PROXY"
    )
    assert await on_each_wire.says("proxy") == f"ok    proxy: {proxy}, from HTTPS_PROXY"


async def test_proxy_that_asks_for_a_password(on_each_wire: DoctorEnvironment) -> None:
    await on_each_wire.provider(tls=on_each_wire.company.server("localhost"))
    proxy = await on_each_wire.proxy(user="ana:open-sesame")
    on_each_wire.set("HTTPS_PROXY", f"http://{proxy.address}")
    line = await on_each_wire.model()
    assert line.startswith(
        f"FAIL  model: the proxy {proxy.address} requires a user name and password"
    )
    assert "(407). Fix: put them into HTTPS_PROXY" in line


@pytest.mark.parametrize("status", [403, 502])
async def test_proxy_that_refuses(on_each_wire: DoctorEnvironment, status: int) -> None:
    provider = await on_each_wire.provider(tls=on_each_wire.company.server("localhost"))
    proxy = await on_each_wire.proxy(status=status)
    line = await on_each_wire.model()
    where = provider.base_url[8:-3]
    assert f"the proxy {proxy.address} refuses to connect to {where}. Fix: " in line
    assert "NO_PROXY=localhost" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALL_PROXY", "socks5://ana:open-sesame@127.0.0.1:1"), ("SSL_CERT_FILE", "/nowhere/ca.pem")],
)
async def test_environment_that_cannot_be_used_is_named_by_doctor_and_at_the_start(
    on_each_wire: DoctorEnvironment, name: str, value: str
) -> None:
    on_each_wire.set("OPENAI_BASE_URL", "https://model.example/v1")
    on_each_wire.set(name, value)
    assert (await on_each_wire.model()).startswith(f"FAIL  model: {name}: must be ")
    with pytest.raises(SettingsError, match=rf"^{name}: must be "):
        await asyncio.to_thread(create_app)


async def test_certificate_of_an_unknown_authority(
    on_each_wire: DoctorEnvironment, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    on_each_wire.set("SSL_CERT_FILE", str(Authority(tmp_path / "other").file))
    await on_each_wire.provider(tls=on_each_wire.company.server("localhost"))
    line = await on_each_wire.model()
    assert "localhost is signed by an authority that this machine does not trust. Fix: " in line
    assert "SSL_CERT_FILE" in line


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "tunnel"])
async def test_certificate_for_another_name(
    on_each_wire: DoctorEnvironment, *, proxied: bool
) -> None:
    await on_each_wire.provider(tls=on_each_wire.company.server("model.example"))
    if proxied:
        await on_each_wire.proxy()
    line = await on_each_wire.model()
    assert "the certificate of localhost is for another host name. Fix: " in line
    assert "OPENAI_BASE_URL" in line


async def test_certificate_that_has_expired(on_each_wire: DoctorEnvironment) -> None:
    await on_each_wire.provider(tls=on_each_wire.company.server("localhost", expired=True))
    line = await on_each_wire.model()
    assert "the certificate of localhost has expired or is not valid yet. Fix: " in line


async def test_port_that_speaks_no_tls(on_each_wire: DoctorEnvironment) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with tcp_server(greet) as port:
        on_each_wire.set("OPENAI_BASE_URL", f"https://127.0.0.1:{port}/v1")
        line = await on_each_wire.model()
    assert line.startswith(f"FAIL  model: the TLS handshake with 127.0.0.1:{port} failed (")
    assert "OPENAI_BASE_URL" in line


async def test_port_that_speaks_tls_where_plain_http_is_configured(
    on_each_wire: DoctorEnvironment,
) -> None:
    provider = await on_each_wire.provider(tls=on_each_wire.company.server("localhost"))
    on_each_wire.set("OPENAI_BASE_URL", provider.base_url.replace("https:", "http:"))
    line = await on_each_wire.model()
    assert (
        "closed the connection without an answer. Fix: check OPENAI_BASE_URL, including http:// or"
        in line
    )


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            Fault.UNAUTHENTICATED,
            "127.0.0.1 rejects the API key (401 fake_error). Fix: check OPENAI_API_KEY",
        ),
        (
            Fault.FORBIDDEN,
            "127.0.0.1 rejects the API key (403 fake_error). Fix: check OPENAI_API_KEY",
        ),
        (
            Fault.NOT_FOUND,
            "this path or model (404 fake_error). Fix: check the path of OPENAI_BASE_URL",
        ),
        (Fault.REDIRECT, "not followed. Fix: set OPENAI_BASE_URL to the final URL"),
        (Fault.RATE_LIMITED, "127.0.0.1 is overloaded or failing (429 fake_error). Fix: "),
        (Fault.SERVER_ERROR, "127.0.0.1 is overloaded or failing (500 fake_error). Fix: "),
        (Fault.HANG_UP, "closed the connection without an answer. Fix: check OPENAI_BASE_URL"),
    ],
)
async def test_provider_that_refuses(
    on_each_wire: DoctorEnvironment, fault: Fault, said: str
) -> None:
    provider = await on_each_wire.provider()
    provider.fault = fault
    line = await on_each_wire.model()
    assert line.startswith("FAIL  model: ")
    assert said in line


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"[]", b'{"data": [{"name": "m"}]}'])
async def test_web_page_instead_of_a_model_list_is_named(
    on_each_wire: DoctorEnvironment, body: bytes
) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        kind = b"text/html" if body.startswith(b"<") else b"application/json"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % (kind, len(body)) + body)
        await writer.drain()

    async with tcp_server(greet) as port:
        on_each_wire.set("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
        line = await on_each_wire.model()
    assert f"the server at 127.0.0.1:{port} is not an OpenAI-compatible API. Fix: " in line


async def test_model_that_is_not_listed(on_each_wire: DoctorEnvironment) -> None:
    provider = await on_each_wire.provider()
    provider.models = ["b-pro", "c"]
    line = await on_each_wire.model()
    assert line == (
        "FAIL  model: GENKIT_MODEL: the provider does not list openai/fake-model. "
        "Fix: set it to one of: openai/b-pro, openai/c"
    )
    assert len(provider.requests) == 1


async def test_start_without_a_model_reports_the_same_as_doctor(
    doctor_environment: DoctorEnvironment,
) -> None:
    doctor_environment.set("GENKIT_MODEL", "")
    await doctor_environment.provider(tls=doctor_environment.company.server("model.example"))
    with pytest.raises(SettingsError, match=r"^OPENAI_BASE_URL: .*another host name.*GENKIT_MODEL"):
        await asyncio.to_thread(create_app)


# --- limits ----------------------------------------------------------------------------------


async def test_limits_are_counted_in_the_store_by_default(
    doctor_environment: DoctorEnvironment,
) -> None:
    assert await doctor_environment.says("limits") == "ok    limits: counters are in the store"


async def test_redis_that_counts_is_named_without_its_password(
    doctor_environment: DoctorEnvironment, redis: RedisServer
) -> None:
    doctor_environment.set("LIMITS_URL", f"{redis.url}")
    assert await doctor_environment.says("limits") == f"ok    limits: {redis.url}"
    doctor_environment.set("LIMITS_URL", f"redis://:p%40ss@127.0.0.1:{redis.port}")
    line = await doctor_environment.says("limits")
    assert line.startswith(
        "FAIL  limits: LIMITS_URL: Redis cannot be used for counting. Fix: correct the"
    )


async def test_redis_that_is_down_fails_with_its_fix(
    doctor_environment: DoctorEnvironment,
) -> None:
    doctor_environment.set("LIMITS_URL", f"redis://127.0.0.1:{free_port()}")
    line = await doctor_environment.says("limits")
    assert line.endswith(
        "Redis cannot be used for counting. Fix: start the server, or correct LIMITS_URL."
    )


async def test_absent_client_for_redis_fails_with_its_fix(
    doctor_environment: DoctorEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "chatbot.adapters.limits.redis_counters", None)
    doctor_environment.set("LIMITS_URL", "redis://127.0.0.1")
    assert "install the extra `redis`" in await doctor_environment.says("limits")


async def test_secrets_that_are_derived_are_named(doctor_environment: DoctorEnvironment) -> None:
    assert await doctor_environment.says("settings") == (
        "ok    settings: complete; derived from JWT_SECRET: API_KEY_PEPPER and AUDIT_KEY "
        "(docs/operations.md, Secrets)"
    )
    doctor_environment.set("API_KEY_PEPPER", token_urlsafe())
    doctor_environment.set("AUDIT_KEY", token_urlsafe())
    assert await doctor_environment.says("settings") == "ok    settings: complete"
