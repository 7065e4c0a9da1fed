"""A relay in front of a server, for tests: it counts round trips, and can swallow answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from tcp_server import tcp_server


class Relay:
    """Forwards bytes between clients and a server on loopback."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.round_trips = self.accepted = 0
        self.swallows = False
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        there, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, to_server]
        try:
            await asyncio.gather(
                self._pass_on(reader, to_server, counts=True),
                self._pass_on(there, writer, counts=False),
            )
        finally:
            to_server.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(2**20):
                self.round_trips += counts
                if counts or not self.swallows:
                    writer.write(data)
                    await writer.drain()
        writer.close()

    def cut(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()


@asynccontextmanager
async def relay_to(url: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay to the server at this URL, and the URL through it."""
    parts = urlsplit(url)
    relay = Relay(parts.port or 5432)
    who = f"{parts.username}:{parts.password}@" if parts.username else ""
    async with tcp_server(relay.serve) as port:
        yield relay, parts._replace(netloc=f"{who}127.0.0.1:{port}").geturl()
