"""250 streams of 50 tokens a second on one core: how evenly do the words come?

The service has a core of its own, where there are several; the provider and the clients share the
others. A gap is the time between two pieces of an answer as a client sees them: 20 ms where the
service adds nothing.
"""

import argparse
import asyncio
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import psutil  # type: ignore[import-untyped] # its stubs are not in the lock
from harness import HERE, KEY, MEMORY_OFF, Figure, Server, environment, started, table
from stores import made

STREAMS = 250
TOKENS = 300
TOKENS_A_SECOND = 50


class Listener(asyncio.Protocol):
    """Asks, and notes when a piece of the answer arrives."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._tail = b""
        self.seen: list[float] = []
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if b"event: delta" in data:
            self.seen.append(time.perf_counter())
        self._tail = (self._tail + data)[-4096:]
        if b"event: done" in self._tail and not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(exc or ConnectionError(self._tail))


def request(port: int) -> bytes:
    body = json.dumps({"prompt": "Say something long."}).encode()
    lines = [
        *("POST /chat HTTP/1.1", f"Host: 127.0.0.1:{port}", f"X-API-Key: {KEY}"),
        *("Accept: text/event-stream", "Content-Type: application/json"),
        *(f"Content-Length: {len(body)}", "", ""),
    ]
    return "\r\n".join(lines).encode() + body


async def listen(server: Server, count: int) -> list[float]:
    """Milliseconds between the pieces of each of so many streams."""
    port = int(server.url.rpartition(":")[2])
    loop, listeners = asyncio.get_running_loop(), list[Listener]()
    for number in range(count):
        _, listener = await loop.create_connection(
            lambda: Listener(request(port)), "127.0.0.1", port
        )
        listeners.append(listener)
        await asyncio.sleep(1 / TOKENS_A_SECOND / 10 if number % 10 else 0.005)
    await asyncio.gather(*(listener.ended for listener in listeners))
    return [
        (later - earlier) * 1000
        for listener in listeners
        for earlier, later in pairwise(listener.seen)
    ]


def pin(service: Server, *others: psutil.Process) -> None:
    """Give the service a core of its own, where the system lets us."""
    cores = list(range(os.cpu_count() or 1))
    if len(cores) > 1 and hasattr(service.process, "cpu_affinity"):
        service.process.cpu_affinity(cores[:1])
        for other in others:
            other.cpu_affinity(cores[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=STREAMS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        pace = {"BENCH_TOKENS": str(TOKENS), "BENCH_PAUSE_S": str(1 / TOKENS_A_SECOND)}
        upstream = stack.enter_context(
            started("provider", [str(HERE / "token_provider.py")], folder, **pace)
        )
        settings = environment(upstream, made(f"json:{folder / 'data'}")) | MEMORY_OFF
        settings["MODEL_MAX_CONCURRENT"] = str(5 * options.streams)  # a quarter is one client's
        service = stack.enter_context(started("service", ["-m", "chatbot"], folder, **settings))
        pin(service, upstream.process, psutil.Process())
        asyncio.run(listen(service, 10))  # warms up
        gaps, used = list[float](), list[float]()
        for _ in range(options.rounds):
            cpu_s, began = service.cpu_s(), time.perf_counter()
            gaps += asyncio.run(listen(service, options.streams))
            used.append((service.cpu_s() - cpu_s) / (time.perf_counter() - began))
    print(table(list(figures(gaps, statistics.median(used), options.streams))))


def figures(gaps: list[float], cores: float, streams: int) -> Iterator[Figure]:
    gaps.sort()
    what = f"{streams} streams of {TOKENS_A_SECOND} tokens a second"
    yield Figure(what=f"{what}: gap, p50", value=statistics.median(gaps), unit=" ms")
    p99 = gaps[math.ceil(0.99 * len(gaps)) - 1]
    yield Figure(what=f"{what}: gap, p99", value=p99, target=100, unit=" ms")
    yield Figure(what=f"{what}: longest gap", value=gaps[-1], unit=" ms")
    yield Figure(what=f"{what}: cores used", value=cores)


if __name__ == "__main__":
    main()
