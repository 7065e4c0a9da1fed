"""The network route to the provider: the proxy, and the trusted certificates.

Decided once, from the environment and the system, for both transports. The HTTP clients differ:
aiohttp supports neither ALL_PROXY nor networks in NO_PROXY nor the keychain of macOS; httpx2 fails
on a SOCKS proxy even if it would bypass it, and ignores the proxy exceptions of Windows and macOS.
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


class ProxyConfigurationError(ModelUnavailable):
    """The environment names an unusable proxy or certificate file.

    The message names the variable and the fix, but not its value: that may contain a password.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy with its credentials, and the environment variable that names it."""

    url: URL
    variable: str
    user: str | None = None
    password: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """Host and port, without credentials: safe to show."""
        return f"{self.url.host}:{self.url.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The proxy, if any, and the TLS settings; plain HTTP does not use `tls`."""

    proxy: Proxy | None
    tls: ssl.SSLContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A provider's base URL. Every request carries its query, such as Azure's `?api-version=`."""

    base: URL
    query: Mapping[str, str]

    def to(self, path: str) -> URL:
        """The URL of an API path such as `chat/completions`."""
        return (self.base / path).with_query(self.query or None)

    def headers(self, api_key: str | None) -> dict[str, str]:
        """Azure's deployments read the key from `api-key`; a bearer token means something else there."""
        return {"api-key": api_key} if api_key and AZURE_QUERY in self.query else {}

    @property
    def is_azure(self) -> bool:
        """Whether models are deployments that the customer has named."""
        is_theirs = (self.base.host or "").endswith((".azure.com", ".azure-api.net"))
        return is_theirs or AZURE_QUERY in self.query or self.deployment is not None

    @property
    def deployment(self) -> str | None:
        """The deployment in the path: Azure uses it and ignores the model in the body."""
        before, at, name = self.base.path.rpartition("/deployments/")
        return name.partition("/")[0] or None if before and at else None


def endpoint_of(base_url: str) -> Endpoint:
    """Parse a base URL; a trailing slash is ignored."""
    url = URL(base_url)
    base = url.with_query(None).with_fragment(None)
    return Endpoint(base=base.with_path(base.path.rstrip("/")), query=dict(url.query))


def route_to(url: str) -> Route:
    """Return the route to a URL; reads the environment and the trusted certificates.

    Raises:
        ProxyConfigurationError: the environment names an unusable proxy or certificate file.
    """
    return Route(proxy=proxy_for(url), tls=_tls())


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY or the system names for a URL.

    Raises:
        ProxyConfigurationError: it is not an HTTP proxy, or its URL is invalid.
    """
    to, proxies = URL(url), getproxies()
    kind = next((kind for kind in (to.scheme, "all") if proxies.get(kind)), None)
    if kind is None or _bypasses_proxy(to, proxies.get("no", "")):
        return None
    raw, variable = unquoted(proxies[kind]), f"{kind}_proxy".upper()
    try:
        proxy = URL(raw if "://" in raw else f"http://{raw}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in {"http", "https"} or not proxy.host:
        raise ProxyConfigurationError(
            f"{variable}: must be http://HOST:PORT or https://HOST:PORT, or unset."
        )
    return Proxy(
        url=proxy.origin(),
        variable=variable,
        user=proxy.user,
        password=proxy.password or "",
    )


def _bypasses_proxy(to: URL, no_proxy: str) -> bool:
    """Whether NO_PROXY or the system's exceptions contain the URL's host.

    urllib supports names with their subdomains, and a single `*`; the rest is done here.
    """
    host = to.host or ""
    if proxy_bypass(f"{host}:{to.port}") or proxy_bypass(host):
        return True
    return any(_matches(entry.strip(), host) for entry in no_proxy.split(","))


def _matches(entry: str, host: str) -> bool:
    """Whether an entry (`*`, `*.domain`, an IP address or network) covers the host."""
    if entry == "*" or (entry.startswith("*.") and host.endswith(entry[1:].lower())):
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False


def _tls() -> ssl.SSLContext:
    """Trust what httpx2 trusts: SSL_CERT_FILE, else SSL_CERT_DIR, else the system's store."""
    try:
        context = httpx2.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        raise ProxyConfigurationError(
            "SSL_CERT_FILE: must be a readable file of PEM certificates."
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context
