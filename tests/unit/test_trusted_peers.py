"""A request comes from a trusted proxy if its peer is one, whatever its headers say."""

import pytest
from starlette.types import Message, Receive, Scope, Send

from chatbot.domain.ports.telemetry import TRUSTED_PEER
from chatbot.entrypoints.server.trusted_peers import TrustedPeers


@pytest.mark.parametrize(
    ("client", "is_trusted"),
    [
        (("10.1.2.3", 1), True),
        (("192.0.2.1", 1), True),
        (("192.0.2.2", 1), False),
        (("2001:db8::1", 1), True),
        (("2001:db9::1", 1), False),
        (("not an address", 1), False),
        (None, None),
    ],
)
async def test_peer_is_compared_with_the_networks(
    client: tuple[str, int] | None, is_trusted: bool | None
) -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, _: Receive, __: Send) -> None:
        seen.append(scope)

    async def receive() -> Message:
        raise NotImplementedError

    async def send(_: Message) -> None:
        raise NotImplementedError

    scope: Scope = {
        "type": "http",
        "scheme": "http",
        "client": client,
        "headers": [(b"x-forwarded-for", b"10.9.9.9")],
    }
    peers = TrustedPeers(app, ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"])
    await peers(scope, receive, send)

    assert seen[0].get("state", {}).get(TRUSTED_PEER) is is_trusted
