"""Counters of limits in a Redis server, or in one that speaks its protocol, such as Valkey."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)

from chatbot.adapters.limits.redis_scripts import ADD, READ, SETTLE
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.ports.counters import Addition, Count, CounterKey, Counts, names_with_part
from chatbot.domain.ports.limit_counters import LimitCounters, Settlement

ANSWER_S = 1.0
"""The maximum time for which a request waits, both to connect and for a response."""
ERASED_WITHIN_S = 60.0
_CONNECTIONS = 16
_PREFIX = "chatbot:"
_MARK = "chatbot-settled:"
_SETTLED_FOR_MS = 3_600_000
_SCANNED_AT_ONCE = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_KEEPS_ALL = "noeviction"
_FIXES: dict[type[Exception], str] = {  # the first whose error it is
    AuthenticationError: "correct the account or the password in LIMITS_URL",
    NoPermissionError: "allow the account +@read +@write +@scripting +info ~chatbot*",
    ReadOnlyError: "name the primary in LIMITS_URL: this server is a replica",
    OutOfMemoryError: "give the server more memory (maxmemory)",
    Exception: "start the server, or correct LIMITS_URL",
}
_Found = TypeVar("_Found")


class RedisCounters(LimitCounters):
    """Counters as hashes `chatbot:<kind>:<name>`, which expire by themselves.

    Args:
        url: as redis-py reads it: `redis://USER:PASSWORD@HOST:PORT/DB`, `rediss://` with TLS,
            `unix://`.
    """

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 1),  # a connection that a restart of the server has ended
            protocol=2,
        )
        self._redis = Redis.from_pool(pool)
        self._add = self._redis.register_script(ADD)
        self._settle = self._redis.register_script(SETTLE)
        self._read = self._redis.register_script(READ)

    async def add(self, additions: Sequence[Addition], *, now: datetime) -> Sequence[Addition]:
        if not additions:
            return ()
        keys = _positions([each.key for each in additions])
        values: list[int | str] = [_micros(now)]
        for each in additions:
            limit = "" if each.limit is None else each.limit
            values += [keys[each.key], _micros(each.expires_at), each.amount, limit]
        by_number = dict(enumerate(additions))
        return await _answer(
            self._add(keys=[*map(_name, keys)], args=values),
            lambda found: [by_number[number] for number in found],
        )

    async def settle(self, settlement: Settlement, *, now: datetime) -> None:
        changes = (*settlement.reserved, *settlement.used)
        keys = _positions([each.key for each in changes], first=2)
        values = [_micros(now), _SETTLED_FOR_MS, len(settlement.reserved)]
        for each in changes:
            values += [keys[each.key], _micros(each.expires_at), each.amount]
        names = [f"{_MARK}{settlement.id}", *map(_name, keys)]
        await _answer(self._settle(keys=names, args=values), (0, 1).index)

    async def read(self, keys: Sequence[CounterKey], *, now: datetime) -> Counts:
        if not keys:
            return {}
        return await _answer(
            self._read(keys=[*map(_name, keys)], args=[_micros(now)]),
            lambda found: dict(zip(keys, map(_counts, found), strict=True)),
        )

    async def erase(self, part: str) -> Mapping[str, int]:
        names_with_part((), part)
        return await _answer(self._erase(part), Counter[str], within_s=ERASED_WITHIN_S)

    async def _erase(self, part: str) -> Mapping[str, int]:
        erased = Counter[str]()
        async for key in self._redis.scan_iter(f"{_PREFIX}*{_escaped(part)}*", _SCANNED_AT_ONCE):
            kind, _, name = key.decode("utf-8", "replace").removeprefix(_PREFIX).partition(":")
            if names_with_part([name], part):
                erased[kind] += await self._redis.unlink(key)
        return erased

    async def check(self) -> None:
        """Check that amounts can be counted now, and are not evicted.

        Raises:
            StorageUnavailable: they cannot; the message names the fix.
        """
        probe = Addition(key=CounterKey("check", ""), amount=1, expires_at=_EPOCH + _MICROSECOND)
        try:
            await self.add([probe], now=_EPOCH)
            memory = await _answer(self._redis.info("memory"), dict[str, Any])
        except StorageUnavailable as error:
            fix = next(fix for kind, fix in _FIXES.items() if isinstance(error.__cause__, kind))
            raise StorageUnavailable(f"Redis cannot be used for counting. Fix: {fix}.") from error
        policy = memory.get("maxmemory_policy", _KEEPS_ALL)
        if policy != _KEEPS_ALL and memory.get("maxmemory"):
            raise StorageUnavailable(
                f"Redis drops counters when its memory is full (maxmemory-policy {policy}). "
                f"Fix: set it to {_KEEPS_ALL}."
            )

    async def aclose(self) -> None:
        await self._redis.aclose()


async def _answer(
    asked: Awaitable[Any], parse: Callable[[Any], _Found], *, within_s: float | None = None
) -> _Found:
    try:
        async with asyncio.timeout(within_s or ANSWER_S):
            return parse(await asked)
    except Exception as error:  # a server that talks nonsense makes the client raise anything
        raise StorageUnavailable("The limits cannot be checked right now. Try again.") from error


def _positions(keys: Sequence[CounterKey], *, first: int = 1) -> dict[CounterKey, int]:
    """Returns the keys, each once, with their positions in the arguments of a script."""
    return {key: number for number, key in enumerate(dict.fromkeys(keys), first)}


def _name(key: CounterKey) -> str:
    return f"{_PREFIX}{key.kind}:{key.name}"


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _counts(flat: Sequence[int]) -> Sequence[Count]:
    """Returns what a counter holds, given as expiry, amount, expiry, amount ..."""
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return sorted(Count(_EPOCH + at * _MICROSECOND, int(amount)) for at, amount in pairs)


def _escaped(text: str) -> str:
    """Returns a pattern of Redis that matches the text only."""
    return re.sub(r"[*?\[\]\\^-]", r"\\\g<0>", text)
