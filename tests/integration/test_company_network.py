"""Both transports in a company network with a proxy and a private certificate authority."""

import ssl
from contextlib import aclosing
from pathlib import Path

import httpx2
import pytest
import truststore
from genkit.plugin_api import ActionKind

from chatbot.adapters.llm.faults import Fault, fault_of
from chatbot.adapters.llm.genkit_model import GenkitChatModel
from chatbot.adapters.llm.network import ProxyConfigurationError, proxy_for
from chatbot.adapters.llm.provider import TransportName, build_genkit
from chatbot.domain.chat import MessageRole
from chatbot.domain.errors import ModelError, ModelFailure, ModelUnavailable, cause_of
from chatbot.domain.ports.model import Completion, ModelRequest, PromptMessage, Task
from company_network import Authority, Proxy
from provider import FakeProvider, closed_port_url

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "sk-ours-and-only-ours"
ANSWERED = ["You said: Hi", "You said: Hi"]
REFUSALS: dict[int, tuple[type[ModelFailure], Fault]] = {
    403: (ModelError, Fault.PROXY_REFUSAL),
    407: (ModelError, Fault.PROXY_LOGIN),
    502: (ModelUnavailable, Fault.PROXY_REFUSAL),
}
CLOSED = closed_port_url().removesuffix("/v1")

each_wire = pytest.mark.parametrize("transport", ["aiohttp", "sdk"])


@pytest.fixture
def company(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Remove the proxy and certificate settings of the test machine."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


async def ask(transport: TransportName, base_url: str) -> list[str | ModelFailure]:
    """The results of a non-streaming and a streaming call on this transport."""
    ai = build_genkit(
        transport=transport, api_key=KEY, base_url=base_url, connect_timeout_s=10, turn_timeout_s=20
    )
    model = GenkitChatModel(ai, "openai/fake-model", temperature=None)
    # What resolving the name comes to, without the half second for the plug-in's other models.
    assert ai.plugin is not None
    model._action = await ai.plugin.resolve(ActionKind.MODEL, "openai/fake-model")
    said = PromptMessage(role=MessageRole.USER, text="Hi")
    request = ModelRequest(task=Task.CHAT, system="", messages=(said,), max_output_tokens=77)

    async def streamed() -> str:
        pieces = [piece async for piece in model.stream(request)]
        return "".join(piece for piece in pieces if not isinstance(piece, Completion))

    async def whole() -> str:
        return (await model.complete(request)).text

    outcomes: list[str | ModelFailure] = []
    async with aclosing(model):
        for way in (whole, streamed):
            try:
                outcomes.append(await way())
            except ModelFailure as failure:
                outcomes.append(failure)
    return outcomes


async def failures(transport: TransportName, base_url: str) -> list[ModelFailure]:
    """The errors of both calls, neither of which may succeed."""
    outcomes = [one for one in await ask(transport, base_url) if isinstance(one, ModelFailure)]
    assert len(outcomes) == 2
    return outcomes


# -- the proxy ------------------------------------------------------------------------------------


@each_wire
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_proxy_opens_a_tunnel_and_never_sees_the_key(
    company: Authority, environment: pytest.MonkeyPatch, transport: TransportName, variable: str
) -> None:
    environment.setenv("SSL_CERT_FILE", str(company.file))
    async with FakeProvider(tls=company.server("localhost")) as provider, Proxy() as proxy:
        environment.setenv(variable, proxy.url)
        assert await ask(transport, provider.base_url) == ANSWERED
    for asked in proxy.asked:
        assert f"{asked.method} {asked.target}" == f"CONNECT {provider.base_url[8:-3]}"
        assert "authorization" not in asked.headers
    assert proxy.asked
    assert provider.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in proxy.seen


@each_wire
async def test_external_names_are_resolved_by_the_proxy(
    company: Authority, environment: pytest.MonkeyPatch, transport: TransportName
) -> None:
    environment.setenv("SSL_CERT_FILE", str(company.file))
    name = "model.invalid"  # here, nobody can resolve it
    async with (
        FakeProvider(tls=company.server(name)) as provider,
        Proxy(names=frozenset({name})) as proxy,
    ):
        environment.setenv("HTTPS_PROXY", proxy.address)  # without http:// is right, too
        url = provider.base_url.replace("localhost", name)
        assert await ask(transport, url) == ANSWERED


@each_wire
async def test_proxy_gets_its_password_and_the_provider_does_not(
    company: Authority, environment: pytest.MonkeyPatch, transport: TransportName
) -> None:
    environment.setenv("SSL_CERT_FILE", str(company.file))
    async with (
        FakeProvider(tls=company.server("localhost")) as provider,
        Proxy(user="ana:open-sesame") as proxy,
    ):
        environment.setenv("HTTPS_PROXY", proxy.url)
        assert await ask(transport, provider.base_url) == ANSWERED
    assert "proxy-authorization" not in provider.requests[-1].headers


@each_wire
async def test_proxy_can_be_reached_over_tls(
    company: Authority, environment: pytest.MonkeyPatch, transport: TransportName
) -> None:
    environment.setenv("SSL_CERT_FILE", str(company.file))
    tls = company.server("localhost")
    async with FakeProvider(tls=tls) as provider, Proxy(tls=tls, user="ana:pass") as proxy:
        environment.setenv("HTTPS_PROXY", proxy.url)
        assert await ask(transport, provider.base_url) == ANSWERED
    assert proxy.asked


@each_wire
async def test_plain_http_goes_through_its_own_proxy(
    environment: pytest.MonkeyPatch, transport: TransportName
) -> None:
    environment.setenv("HTTPS_PROXY", CLOSED)
    async with FakeProvider() as provider, Proxy() as proxy:
        environment.setenv("HTTP_PROXY", proxy.url)
        assert await ask(transport, provider.base_url) == ANSWERED
    assert proxy.asked[0].target == f"{provider.base_url}/chat/completions"


@each_wire
@pytest.mark.parametrize("exempt", [".localhost", "example.com, localhost:{port}", "*"])
async def test_no_proxy_bypasses_the_proxy(
    company: Authority, environment: pytest.MonkeyPatch, transport: TransportName, exempt: str
) -> None:
    environment.setenv("SSL_CERT_FILE", str(company.file))
    async with FakeProvider(tls=company.server("localhost")) as provider, Proxy() as proxy:
        environment.setenv("HTTPS_PROXY", proxy.url)
        environment.setenv("NO_PROXY", exempt.format(port=httpx2.URL(provider.base_url).port))
        assert await ask(transport, provider.base_url) == ANSWERED
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("no_proxy", "around"),
    {
        "model.corp.example": True,
        "MODEL.corp.example": True,
        "corp.example": True,
        ".corp.example": True,
        "*.corp.example": True,
        "other.example, .corp.example": True,
        "model.corp.example:8443": True,
        "model.corp.example:443": False,
        "other.example,*": True,
        "orp.example": False,
        "10.0.0.0/8": False,
        "": False,
    }.items(),
)
async def test_names_in_no_proxy(
    environment: pytest.MonkeyPatch, no_proxy: str, *, around: bool
) -> None:
    environment.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    environment.setenv("NO_PROXY", no_proxy)
    assert (proxy_for("https://model.corp.example:8443/v1") is None) is around


@pytest.mark.parametrize(
    ("host", "no_proxy", "around"),
    [
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:443", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "192.168.0.0/16, 10.1.0.0/16", True),
        ("10.1.2.3", "10.2.0.0/16", False),
        ("10.1.2.3", "10.0.0.0/99, nonsense/8", False),
        ("[fd00::1]", "fd00::1", True),
        ("[fd00::1]", "[fd00::1]", True),
        ("[fd00::1]", "fd00::/8", True),
        ("[fd00::1]", "::/128", False),
    ],
)
async def test_addresses_and_networks_in_no_proxy(
    environment: pytest.MonkeyPatch, host: str, no_proxy: str, *, around: bool
) -> None:
    environment.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    environment.setenv("NO_PROXY", no_proxy)
    assert (proxy_for(f"https://{host}/v1") is None) is around


async def test_password_of_a_proxy_is_decoded_and_never_shown(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("HTTPS_PROXY", "http://ana:p%40ss%3Aword@proxy.example:3128")
    proxy = proxy_for("https://model.example/v1")
    assert proxy is not None
    assert (proxy.user, proxy.password) == ("ana", "p@ss:word")
    assert "p@ss" not in repr(proxy)
    assert "p%40ss" not in repr(proxy)


@pytest.mark.parametrize("around", ['"{}"', "'{}'\n", " {}\r\n", "\ufeff{}"])
async def test_whitespace_and_quotes_around_a_proxy_url_are_ignored(
    environment: pytest.MonkeyPatch, around: str
) -> None:
    environment.setenv("HTTPS_PROXY", around.format("http://proxy.example:3128"))
    proxy = proxy_for("https://model.example/v1")
    assert proxy is not None
    assert proxy.address == "proxy.example:3128"


@pytest.mark.parametrize(
    "value",
    ["socks5://127.0.0.1:1080", "ftp://proxy.example", "http://", "http://u:geheim@proxy:port"],
)
async def test_unusable_proxy_is_refused_and_not_bypassed(
    environment: pytest.MonkeyPatch, value: str
) -> None:
    environment.setenv("ALL_PROXY", value)
    with pytest.raises(ProxyConfigurationError, match=r"^ALL_PROXY: ") as caught:
        proxy_for("https://model.example/v1")
    assert "geheim" not in str(caught.value)
    environment.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert proxy_for("https://model.example/v1") is not None, "the more exact one counts"


@each_wire
@pytest.mark.parametrize("status", REFUSALS)
async def test_proxy_refusal_is_not_attributed_to_the_provider(
    company: Authority,
    environment: pytest.MonkeyPatch,
    transport: TransportName,
    status: int,
) -> None:
    failure, fault = REFUSALS[status]
    environment.setenv("SSL_CERT_FILE", str(company.file))
    async with (
        FakeProvider(tls=company.server("localhost")) as provider,
        Proxy(status=status) as proxy,
    ):
        environment.setenv("HTTPS_PROXY", proxy.url)
        for caught in await failures(transport, provider.base_url):
            assert type(caught) is failure
            assert ("HTTPS_PROXY" in str(caught)) is (failure is ModelError)
            assert fault_of(caught, proxied=True) is fault
    assert provider.requests == []


@each_wire
async def test_unreachable_proxy_is_an_outage(
    environment: pytest.MonkeyPatch, transport: TransportName
) -> None:
    environment.setenv("HTTPS_PROXY", CLOSED)
    for caught in await failures(transport, "https://model.invalid/v1"):
        assert type(caught) is ModelUnavailable
        assert fault_of(caught, proxied=True) is Fault.PROXY


@each_wire
async def test_netrc_is_not_read(
    company: Authority, environment: pytest.MonkeyPatch, tmp_path: Path, transport: TransportName
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine localhost login eve password evil\n", encoding="utf-8")
    netrc.chmod(0o600)
    environment.setenv("HOME", str(tmp_path))
    environment.setenv("NETRC", str(netrc))
    environment.setenv("SSL_CERT_FILE", str(company.file))
    async with FakeProvider(tls=company.server("localhost")) as provider:
        assert await ask(transport, provider.base_url) == ANSWERED
    assert provider.requests[-1].headers["authorization"] == f"Bearer {KEY}"


# -- certificates ---------------------------------------------------------------------------------


@each_wire
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "tunnel"])
@pytest.mark.parametrize(
    ("name", "expired", "trusted", "fault"),
    [
        ("localhost", False, False, Fault.ISSUER),
        ("other.example", False, True, Fault.HOST_NAME),
        ("localhost", True, True, Fault.EXPIRED),
    ],
    ids=["unknown-ca", "wrong-name", "expired"],
)
async def test_invalid_certificate_is_refused_and_named_in_the_cause(
    company: Authority,
    environment: pytest.MonkeyPatch,
    transport: TransportName,
    name: str,
    fault: Fault,
    *,
    proxied: bool,
    expired: bool,
    trusted: bool,
) -> None:
    if trusted:
        environment.setenv("SSL_CERT_FILE", str(company.file))
    tls = company.server(name, expired=expired)
    async with FakeProvider(tls=tls) as provider, Proxy() as proxy:
        if proxied:
            environment.setenv("HTTPS_PROXY", proxy.url)
        for caught in await failures(transport, provider.base_url):
            assert type(caught) is ModelUnavailable
            assert "CERTIFICATE_VERIFY_FAILED" in cause_of(caught)
            assert fault_of(caught, proxied=proxied) is fault
    assert provider.requests == []


@each_wire
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_certificates_may_stand_in_a_file_or_a_folder(
    company: Authority, environment: pytest.MonkeyPatch, transport: TransportName, variable: str
) -> None:
    where = company.file if variable == "SSL_CERT_FILE" else company.hashed_folder()
    environment.setenv(variable, str(where))
    async with FakeProvider(tls=company.server("localhost")) as provider:
        assert await ask(transport, provider.base_url) == ANSWERED


@each_wire
async def test_certificate_authority_in_the_system_store_is_trusted(
    company: Authority, environment: pytest.MonkeyPatch, transport: TransportName
) -> None:
    """OpenSSL's own path is compiled in; this test redirects it to a file with our authority."""
    paths = ssl.get_default_verify_paths()._replace(openssl_cafile=str(company.file))
    environment.setattr(ssl, "get_default_verify_paths", lambda: paths)
    async with FakeProvider(tls=company.server("localhost")) as provider:
        assert await ask(transport, provider.base_url) == ANSWERED


@each_wire
async def test_context_of_windows_and_macos_works_on_both_transports(
    company: Authority, environment: pytest.MonkeyPatch, transport: TransportName
) -> None:
    """There httpx2 uses truststore's context, which on Linux trusts what OpenSSL trusts."""
    environment.setattr(
        httpx2, "create_ssl_context", lambda: truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    async with FakeProvider(tls=company.server("localhost")) as provider, Proxy() as proxy:
        environment.setenv("HTTPS_PROXY", proxy.url)
        for caught in await failures(transport, provider.base_url):
            assert fault_of(caught, proxied=True) is Fault.ISSUER
        environment.setenv("SSL_CERT_FILE", str(company.file))
        assert await ask(transport, provider.base_url) == ANSWERED


@each_wire
@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_file_of_certificates_that_cannot_be_used_is_named_at_once(
    environment: pytest.MonkeyPatch, tmp_path: Path, transport: TransportName, content: str | None
) -> None:
    file = tmp_path / "company.pem"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    environment.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(ProxyConfigurationError, match=r"^SSL_CERT_FILE: "):
        await ask(transport, "https://model.invalid/v1")
