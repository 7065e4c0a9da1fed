"""Redis as it is in production: restarted, frozen, full, protected, or not a Redis at all."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from itertools import chain
from pathlib import Path
from urllib.parse import quote

import pytest

from chatbot.adapters.limits import redis_counters
from chatbot.adapters.limits.redis_counters import RedisCounters
from chatbot.application import limit_counters
from chatbot.application.limit_counters import LimitChecks
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.ports.counters import CounterKey
from chatbot.domain.ports.limit_counters import Settlement
from company_network import Authority
from counter_contract import HOUR, ONE, TWO, addition
from postgres import free_port
from redis_server import PASSWORD, RedisServer, redis_server
from samples import T0

NAME = "chatbot:tokens:ana"
MOMENT = f"{int((T0 + HOUR).timestamp())}000000"
PATIENCE_S = 20


@pytest.fixture
async def counters(redis: RedisServer) -> AsyncIterator[RedisCounters]:
    counters = RedisCounters(redis.url)
    yield counters
    await counters.aclose()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """One that the test may stop."""
    with redis_server() as server:
        yield server


async def held(counters: RedisCounters) -> int:
    return sum(count.amount for count in (await counters.read([ONE], now=T0))[ONE])


# --- restarts and time-outs ------------------------------------------------------------------


async def test_counts_and_connections_survive_a_restart(own_redis: RedisServer) -> None:
    counters = RedisCounters(own_redis.url)
    await asyncio.gather(*(counters.add([addition(1)], now=T0) for _ in range(9)))
    own_redis.stop()
    own_redis.start()
    await asyncio.gather(*(counters.add([addition(1)], now=T0) for _ in range(9)))
    assert await held(counters) == 18
    await counters.aclose()


async def test_scripts_are_loaded_again_when_the_server_has_lost_them(
    redis: RedisServer, counters: RedisCounters
) -> None:
    await counters.add([addition(1)], now=T0)
    redis.command("SCRIPT", "FLUSH")
    await counters.add([addition(1)], now=T0)
    assert await held(counters) == 2


async def test_outage_is_bridged_and_logged_once(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chatbot.limits")
    monkeypatch.setattr(limit_counters, "PAUSE_S", 0)
    checks = LimitChecks(counters := RedisCounters(own_redis.url))
    reserved = [addition(100, until=HOUR / 2, limit=100)]
    request = [addition(1, CounterKey("rate", "ana"), limit=1)]
    assert not await checks.reserve(reserved, now=T0)
    own_redis.stop()
    for _ in range(3):
        assert not await checks.count(request, now=T0)
        with pytest.raises(StorageUnavailable):
            await checks.reserve(reserved, now=T0)
    await checks.settle(reserved, [addition(30)], now=T0)
    own_redis.start()
    assert not await checks.count(request, now=T0)
    assert await checks.count(request, now=T0)
    await checks.settle([], [addition(5)], now=T0)
    assert await held(counters) == 35
    await checks.aclose()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


async def test_frozen_server_delays_a_call_for_a_bounded_time_and_mixes_up_no_answers(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_counters, "ANSWER_S", 0.3)
    counters = RedisCounters(own_redis.url)
    await counters.add([addition(1)], now=T0)
    with own_redis.frozen():
        for _ in range(2):
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(StorageUnavailable):
                    await counters.read([ONE, TWO], now=T0)
    assert (await counters.read([TWO], now=T0)) == {TWO: []}
    assert await held(counters) == 1
    await counters.aclose()


async def test_answer_of_a_cancelled_call_reaches_no_other_caller(
    redis: RedisServer, counters: RedisCounters
) -> None:
    await counters.add([addition(7)], now=T0)
    for _ in range(20):
        reading = asyncio.create_task(counters.read([ONE, TWO], now=T0))
        for _ in range(3):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        assert await counters.read([TWO], now=T0) == {TWO: []}
    assert await held(counters) == 7


# --- what is stored --------------------------------------------------------------------------


async def test_counters_expire_by_themselves(redis: RedisServer, counters: RedisCounters) -> None:
    await counters.add([addition(1, until=HOUR), addition(1, TWO, until=2 * HOUR)], now=T0)
    await counters.add([addition(1, until=timedelta(minutes=1))], now=T0)
    await counters.settle(Settlement(id="1", reserved=[], used=[]), now=T0)
    minute = 60_000
    for name, most in ((NAME, 61), ("chatbot:tokens:bea", 121), ("chatbot-settled:1", 60)):
        assert (most - 2) * minute < redis.command("PTTL", name) <= most * minute


@pytest.mark.parametrize(
    "spoil",
    [
        ["SET", NAME, "hello"],
        ["RPUSH", NAME, "1", "2"],
        ["HSET", NAME, MOMENT, "many"],
        ["HSET", NAME, MOMENT, "-5"],
        ["HSET", NAME, MOMENT, "0x10"],
        ["HSET", NAME, MOMENT, "1e3"],
        ["HSET", NAME, MOMENT, "nan"],
        ["HSET", NAME, MOMENT, "9" * 400],
        ["HSET", NAME, MOMENT, ""],
        ["HSET", NAME, "tomorrow", "5"],
        ["HSET", NAME, "9" * 30, "5"],
        ["HSET", NAME, "\0\r\n", "\r\n$-1"],
    ],
)
async def test_damaged_counter_is_empty_and_counts_again(
    redis: RedisServer, counters: RedisCounters, spoil: list[str]
) -> None:
    redis.command(*spoil)
    assert await held(counters) == 0
    redis.command("DEL", NAME)
    redis.command(*spoil)
    await counters.settle(Settlement(id="1", reserved=[addition(1)], used=[addition(2)]), now=T0)
    redis.command("DEL", NAME)
    redis.command(*spoil)
    assert not await counters.add([addition(3, limit=3)], now=T0)
    assert await counters.add([addition(1, limit=3)], now=T0)
    assert await held(counters) == 3


async def test_keys_of_others_are_not_erased(redis: RedisServer, counters: RedisCounters) -> None:
    for name in ("ana", "other:ana", "chatbot:ana", "chatbot-x:k:ana"):
        redis.command("SET", name, "1")
    redis.command("SET", b"chatbot:k:\xff|ana", "1")  # type: ignore[arg-type]
    await counters.add([addition(1)], now=T0)
    assert await counters.erase("ana") == {"tokens": 1, "k": 1}
    assert redis.command("DBSIZE") == 4


# --- servers that refuse ---------------------------------------------------------------------


async def test_password_of_the_url_is_used(own_redis: RedisServer) -> None:
    own_redis.command("CONFIG", "SET", "requirepass", PASSWORD)
    address = f"127.0.0.1:{own_redis.port}"
    for user in ("", "default"):
        counters = RedisCounters(f"redis://{user}:{quote(PASSWORD, safe='')}@{address}/0")
        await counters.check()
        await counters.aclose()
    await refused(f"redis://:wrong@{address}", "correct the account or the password")
    await refused(f"redis://{address}", "correct the account or the password")


async def test_account_needs_no_more_than_documented(own_redis: RedisServer) -> None:
    rights = ["+@read", "+@write", "+@scripting", "+info", "~chatbot*"]
    own_redis.command("ACL", "SETUSER", "chat", "on", ">secret", *rights)
    counters = RedisCounters(f"redis://chat:secret@127.0.0.1:{own_redis.port}")
    await counters.check()
    await counters.settle(Settlement(id="1", reserved=[addition(1)], used=[addition(1)]), now=T0)
    assert await counters.erase("ana") == {"tokens": 1}
    await counters.aclose()
    own_redis.command("ACL", "SETUSER", "chat", "-@scripting")
    await refused(f"redis://chat:secret@127.0.0.1:{own_redis.port}", "allow the account")


async def test_full_server_refuses_and_the_fix_is_named(own_redis: RedisServer) -> None:
    own_redis.command("CONFIG", "SET", "maxmemory", "1kb")
    await refused(own_redis.url, "give the server more memory")


async def test_replica_refuses_and_the_fix_is_named(own_redis: RedisServer) -> None:
    own_redis.command("REPLICAOF", "127.0.0.1", "1")
    await refused(own_redis.url, "name the primary")


async def test_server_that_would_drop_counters_is_reported(own_redis: RedisServer) -> None:
    own_redis.command("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    counters = RedisCounters(own_redis.url)
    await counters.check()
    await counters.aclose()
    own_redis.command("CONFIG", "SET", "maxmemory", "100mb")
    await refused(own_redis.url, r"maxmemory-policy volatile-lru\). Fix: set it to noeviction")


async def test_absent_server_is_reported() -> None:
    await refused("redis://127.0.0.1:1", "start the server, or correct LIMITS_URL")
    await refused("unix:///nowhere/redis.sock", "start the server, or correct LIMITS_URL")


async def refused(url: str, fix: str) -> None:
    counters = RedisCounters(url)
    with pytest.raises(StorageUnavailable, match=fix):
        await counters.check()
    await counters.aclose()


async def test_connection_is_encrypted_and_the_certificate_is_checked(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), tmp_path / "stranger"
    authority.server("127.0.0.1")
    stranger.mkdir()
    files = {"cert": "server.pem", "key": "server.pem", "ca-cert": "ca.pem"}
    options = [f"--tls-{name}-file {tmp_path / file}".split() for name, file in files.items()]
    with redis_server(*chain(*options), "--tls-auth-clients", "no") as server:
        port = free_port()
        server.command("CONFIG", "SET", "tls-port", str(port))
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs="
        counters = RedisCounters(f"{url}{authority.file}")
        await counters.check()
        await counters.aclose()
        await refused(f"{url}{Authority(stranger).file}", "correct LIMITS_URL")
        await refused(f"rediss://127.0.0.1:{server.port}", "correct LIMITS_URL")
