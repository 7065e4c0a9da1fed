"""The way to the provider: through which proxy, and whose certificates are trusted.

Decided once, from the environment and the system, and the same for both wires. Left to
themselves they differ: aiohttp knows no ALL_PROXY, no networks in NO_PROXY and not the keychain of
macOS; httpx2 fails on a SOCKS proxy that it would not even use, and does not see the exceptions
that Windows and macOS keep beside their proxies.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.request import getproxies, proxy_bypass

import httpx2
from yarl import URL

from chatbot.domain.errors import ModelUnavailable
from chatbot.domain.text import unquoted

OPENAI_URL = "https://api.openai.com/v1"
AZURE_QUERY = "api-version"


class NoWay(ModelUnavailable):
    """The environment names a proxy or a file of certificates that cannot be used.

    The message names the variable and the fix, never the value: it may hold a password.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy, and what it wants to know of us. `variable` is where it is set."""

    url: URL
    variable: str
    user: str | None = None
    password: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """Host and port, as they may be shown: without a user or a password."""
        return f"{self.url.host}:{self.url.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Through which proxy, and what a certificate has to fulfil; plain HTTP leaves `tls` unused."""

    proxy: Proxy | None
    tls: ssl.SSLContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A provider's base URL in its parts: every request has the query, as Azure's `?api-version=`."""

    base: URL
    query: Mapping[str, str]

    def to(self, path: str) -> URL:
        """The address of one of its calls, as in `chat/completions`."""
        return (self.base / path).with_query(self.query or None)

    def headers(self, api_key: str | None) -> dict[str, str]:
        """Azure's deployments look for a key in `api-key`; a bearer token is another thing there."""
        return {"api-key": api_key} if api_key and AZURE_QUERY in self.query else {}

    @property
    def is_azure(self) -> bool:
        """Whether models are deployments, with names of the customer's own."""
        is_theirs = (self.base.host or "").endswith((".azure.com", ".azure-api.net"))
        return is_theirs or AZURE_QUERY in self.query or self.deployment is not None

    @property
    def deployment(self) -> str | None:
        """The deployment that the path names: Azure takes it, and not the model in the body."""
        before, at, name = self.base.path.rpartition("/deployments/")
        return name.partition("/")[0] or None if before and at else None


def endpoint_of(base_url: str) -> Endpoint:
    """The parts of a base URL; a slash at its end makes no difference."""
    url = URL(base_url)
    base = url.with_query(None).with_fragment(None)
    return Endpoint(base=base.with_path(base.path.rstrip("/")), query=dict(url.query))


def way_to(url: str) -> Way:
    """The way to this address; reads the environment and the trusted certificates.

    Raises:
        NoWay: what the environment names cannot be used.
    """
    return Way(proxy=proxy_for(url), tls=_tls())


def proxy_for(url: str) -> Proxy | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY (or the system) names for this address.

    Raises:
        NoWay: it is none that we can speak to.
    """
    to, proxies = URL(url), getproxies()
    kind = next((kind for kind in (to.scheme, "all") if proxies.get(kind)), None)
    if kind is None or _goes_around(to, proxies.get("no", "")):
        return None
    raw, variable = unquoted(proxies[kind]), f"{kind}_proxy".upper()
    try:
        proxy = URL(raw if "://" in raw else f"http://{raw}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in {"http", "https"} or not proxy.host:
        raise NoWay(f"{variable}: must be http://HOST:PORT or https://HOST:PORT, or unset.")
    return Proxy(
        url=proxy.origin(),
        variable=variable,
        user=proxy.user,
        password=proxy.password or "",
    )


def _goes_around(to: URL, no_proxy: str) -> bool:
    """Whether NO_PROXY (or the system's own list) names the address.

    urllib knows names, with the names below them, and `*` alone; the rest is ours.
    """
    host = to.host or ""
    if proxy_bypass(f"{host}:{to.port}") or proxy_bypass(host):
        return True
    return any(_names(entry.strip(), host) for entry in no_proxy.split(","))


def _names(entry: str, host: str) -> bool:
    """Whether an entry is `*`, or `*.domain`, an address or a network with the host inside."""
    if entry == "*" or (entry.startswith("*.") and host.endswith(entry[1:].lower())):
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False


def _tls() -> ssl.SSLContext:
    """What httpx2 trusts: SSL_CERT_FILE, else SSL_CERT_DIR, else the system's own store."""
    try:
        context = httpx2.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        raise NoWay("SSL_CERT_FILE: must be a readable file of PEM certificates.") from error
    context.set_alpn_protocols(["http/1.1"])
    return context
