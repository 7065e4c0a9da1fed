"""Servers that answer something, but are not a Redis: nonsense is an outage."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from chatbot.adapters.limits import redis_counters
from chatbot.adapters.limits.redis_counters import RedisCounters
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.ports.limit_counters import Settlement
from counter_contract import ONE, addition
from samples import T0
from tcp_server import tcp_server

PATIENCE_S = 20

NONSENSE = [
    b"",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"+OK\r\n",
    b"-ERR no\r\n",
    b"-\r\n",
    b":9223372036854775808\r\n",
    b":7\r\n",
    b":-1\r\n",
    b":abc\r\n",
    b"$-1\r\n",
    b"$5\r\nab\r\n",
    b"$99999999999999999999\r\n",
    b"*-1\r\n",
    b"*1\r\n:5\r\n",
    b"*1\r\n:-1\r\n",
    b"*1\r\n$1\r\nx\r\n",
    b"*1\r\n*1\r\n:5\r\n",
    b"*1\r\n*2\r\n:99999999999999999999999\r\n:5\r\n",
    b"*1\r\n*2\r\n$1\r\nx\r\n$1\r\ny\r\n",
    b"*2\r\n*0\r\n*0\r\n",
    b"*1\r\n" * 100_000,
    b"*1000000000\r\n",
    b"\xff\xfe\x00" * 50,
    b"-NOSCRIPT\r\n",
    b"-LOADING\r\n",
    b"-MOVED 1 127.0.0.1:1\r\n",
    b">1\r\n",
    b"%1\r\n",
]


@asynccontextmanager
async def liar(answer: bytes) -> AsyncIterator[str]:
    """The URL of a server that answers the same to everything."""

    async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answer and await reader.read(65536):
            writer.write(answer)

    async with tcp_server(answer_all) as port:
        yield f"redis://127.0.0.1:{port}"


@pytest.mark.parametrize("answer", NONSENSE, ids=lambda answer: repr(answer[:24]))
async def test_nonsense_is_an_outage(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_counters, "ANSWER_S", 0.3)
    monkeypatch.setattr(redis_counters, "ERASED_WITHIN_S", 0.3)
    settlement = Settlement(id="1", reserved=[], used=[addition(1)])
    async with liar(answer) as url, asyncio.timeout(PATIENCE_S):
        counters = RedisCounters(url)
        for call in (
            lambda: counters.add([addition(1, limit=1)], now=T0),
            lambda: counters.settle(settlement, now=T0),
            lambda: counters.read([ONE], now=T0),
            lambda: counters.erase("ana"),
            counters.check,
        ):
            with pytest.raises(StorageUnavailable):
                await call()
        await counters.aclose()


async def test_server_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_counters, "ANSWER_S", 0.3)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        while not reader.at_eof():
            writer.write(b"0")
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.02)

    async with tcp_server(drip) as port:
        counters = RedisCounters(f"redis://127.0.0.1:{port}")
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(StorageUnavailable):
                await counters.add([addition(1)], now=T0)
        await counters.aclose()
