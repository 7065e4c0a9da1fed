"""HTTP to an OpenAI-compatible provider with aiohttp: one session per event loop."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import aiohttp
from genkit.plugin_api import loop_local_client
from pydantic_core import to_json

from chatbot.adapters.llm.network import Endpoint, Proxy, Route
from chatbot.adapters.llm.refusals import MAX_REFUSAL_BYTES, RequestRefused, refusal_of

_REFUSAL_S = 2.0
_MAX_BODY_BYTES = 16 * 1024 * 1024


class ProviderHttp:
    """Connections to the provider.

    Their number is not limited here: `WithSlots` limits the calls.
    """

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        api_key: str | None,
        route: Route,
        connect_timeout_s: float,
        total_timeout_s: float,
    ) -> None:
        self._endpoint = endpoint
        self._headers = {**_headers(api_key), **endpoint.headers(api_key)}
        self._timeout = aiohttp.ClientTimeout(total=total_timeout_s, sock_connect=connect_timeout_s)
        self._tls = route.tls
        self._proxy = route.proxy.url if route.proxy else None
        self._proxy_headers = _proxy_headers(route.proxy)
        self._session = loop_local_client(self._open)

    @asynccontextmanager
    async def request(
        self, method: str, path: str, *, body: Mapping[str, object] | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Send a request and yield the response once its headers have arrived.

        Raises:
            RequestRefused: the provider answered with an error status.
            aiohttp.ClientError: there was no response.
            TimeoutError: it took too long.
        """
        async with self._session().request(
            method,
            self._endpoint.to(path),
            data=None if body is None else to_json(body),
            headers=self._headers,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
            allow_redirects=False,  # the prompt goes to the configured provider only
        ) as response:
            if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                said, after = await _start_of(response), response.headers.get("Retry-After")
                raise RequestRefused(refusal_of(response.status, said, retry_after=after))
            yield response

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._session().close()

    def _open(self) -> aiohttp.ClientSession:
        # Without headers: aiohttp sends a session's Authorization to the proxy, too. Without
        # trust_env: it reads ~/.netrc and the proxies in a thread, twice for each request, and an
        # entry for the provider's host in that file makes every request a ValueError.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
        )


def unread(response: aiohttp.ClientResponse) -> bytes:
    """Return what had arrived before the connection failed; aiohttp has no public API for it."""
    return response.content._read_nowait(-1)  # noqa: SLF001


async def read_body(response: aiohttp.ClientResponse) -> bytes:
    """Read a body of at most 16 MiB.

    Raises:
        ValueError: it is larger.
    """
    body = bytearray()
    async for data in response.content.iter_any():
        body += data
        if len(body) > _MAX_BODY_BYTES:
            raise ValueError("The provider's answer is too large.")
    return bytes(body)


def _headers(api_key: str | None) -> dict[str, str]:
    # Identity: some proxies hold back a compressed stream, and it may be a decompression bomb.
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return headers


async def _start_of(response: aiohttp.ClientResponse) -> bytes:
    """Read the start of an error's body, for a short time: the status matters most."""
    body = bytearray()
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_REFUSAL_S):
            async for data in response.content.iter_any():
                body += data
                if len(body) >= MAX_REFUSAL_BYTES:
                    break
    return bytes(body[:MAX_REFUSAL_BYTES])


def _proxy_headers(proxy: Proxy | None) -> dict[str, str] | None:
    if proxy is None or proxy.user is None:
        return None
    credentials = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
    # aiohttp sends this as Proxy-Authorization, on tunnels and on plain requests.
    return {"Authorization": f"Basic {credentials}"}
