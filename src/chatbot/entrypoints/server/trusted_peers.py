"""Notes which requests come from a trusted proxy, before uvicorn puts the client in its place."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from chatbot.domain.ports.telemetry import TRUSTED_PEER


class TrustedPeers:
    """ASGI middleware around uvicorn's for `X-Forwarded-For` and `-Proto`."""

    def __init__(self, app: ASGIApp, networks: Iterable[str]) -> None:
        given = list(networks)
        self._networks = [ip_network(network) for network in given]
        self._app = ProxyHeadersMiddleware(app, given)  # type: ignore[arg-type] # uvicorn's own types
        self._is_trusted = lru_cache(maxsize=1024)(self._look_up)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client is not None:
            scope.setdefault("state", {})[TRUSTED_PEER] = self._is_trusted(client[0])
        await self._app(scope, receive, send)  # type: ignore[arg-type] # as above

    def _look_up(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)
