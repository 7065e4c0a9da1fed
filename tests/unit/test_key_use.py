"""When and from where a key is used: noted once a day, off the path of the requests."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.auditing import Auditing
from chatbot.application.key_use import MAX_NEW_ADDRESSES, PAUSE_S, REMEMBERED_FOR, KeyUse
from chatbot.domain.audit import AUDIT
from chatbot.domain.authorization import of_client
from chatbot.domain.credentials import ApiKey
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.identity import ClientId, KeyId, Principal, Source
from chatbot.domain.permissions import Permission
from chatbot.domain.repositories.api_keys import API_KEYS

KEY = ApiKey(
    id=KeyId("k7m2x9qd"),
    client=ClientId("partner"),
    scopes=frozenset({Permission.CHAT}),
    digest="0" * 64,
    created_at=datetime(2030, 1, 1, tzinfo=UTC),
    created_by="cli:root",
)
DAY = timedelta(days=1)


class World:
    """A store with one key. `restart` is another process, or this one after a restart."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, 23, 59, 59, tzinfo=UTC)
        self.storage = InMemoryStorage()
        self.writes = 0
        self.restart()

    def restart(self) -> None:
        auditing = Auditing(b"a" * 32, clock=lambda: self.now)
        self.use = KeyUse(self.storage, auditing, clock=lambda: self.now)

    async def call(self, address: str = "192.0.2.1", *, times: int = 1) -> None:
        for _ in range(times):
            self.use.note(caller(address))
        await self.use.aclose()

    async def last_used_on(self) -> str | None:
        key = await self.storage.transact(lambda tx: tx.api_keys.by_id(KEY.id))
        assert key is not None
        return key.last_used_on

    async def new_addresses(self) -> list[str]:
        entries = await self.storage.transact(lambda tx: tx.journal.read(AUDIT, limit=1000))
        events: list[dict[str, Any]] = [dict(entry.content) for entry in entries]
        assert all(event["action"] == "key.new_address" for event in events)
        assert all(event["object"] == {"type": "key", "id": KEY.id} for event in events)
        return [event["actor"]["address"] for event in events]


def caller(address: str) -> Principal:
    return of_client(KEY.as_client(), Source(address=address))


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    await world.storage.transact(lambda tx: tx.api_keys.add(KEY))
    transact = world.storage.transact

    async def counted(work: Any) -> Any:
        world.writes += getattr(work, "func", None) is not None
        return await transact(work)

    monkeypatch.setattr(world.storage, "transact", counted)
    return world


async def test_day_of_the_last_use_is_written_once_a_day(world: World) -> None:
    await world.call(times=50)
    assert (await world.last_used_on(), world.writes) == ("2030-01-01", 1)
    world.now += timedelta(seconds=1)
    await world.call(times=50)
    assert (await world.last_used_on(), world.writes) == ("2030-01-02", 2)
    assert await world.new_addresses() == ["192.0.2.1"]


async def test_day_of_the_last_use_never_goes_back(world: World) -> None:
    await world.call()
    world.now -= DAY
    world.restart()
    await world.call()
    assert await world.last_used_on() == "2030-01-01"


async def test_each_new_address_is_recorded_once_also_by_other_processes(world: World) -> None:
    for _ in range(3):
        await world.call("192.0.2.1")
        await world.call("192.0.2.2")
        world.restart()
    assert await world.new_addresses() == ["192.0.2.1", "192.0.2.2"]


async def test_addresses_of_one_ipv6_site_count_as_one(world: World) -> None:
    for host in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
        await world.call(host)
    assert await world.new_addresses() == ["2001:db8::1", "2001:db8:0:1::1"]


async def test_address_that_is_used_stays_known_and_one_that_is_not_becomes_new(
    world: World,
) -> None:
    await world.call("192.0.2.1")
    await world.call("192.0.2.2")
    for _ in range(3):
        world.now += REMEMBERED_FOR - DAY
        await world.call("192.0.2.1")
    assert await world.new_addresses() == ["192.0.2.1", "192.0.2.2"]
    world.restart()
    await world.call("192.0.2.2")
    assert await world.new_addresses() == ["192.0.2.1", "192.0.2.2", "192.0.2.2"]


async def test_number_of_recorded_addresses_in_a_day_is_bounded(world: World) -> None:
    hosts = [f"192.0.{high}.{low}" for high in range(2) for low in range(100)]
    for host in hosts:
        await world.call(host)
    assert await world.new_addresses() == hosts[:MAX_NEW_ADDRESSES]
    world.now += DAY
    await world.call("198.51.100.1")
    assert len(await world.new_addresses()) == MAX_NEW_ADDRESSES + 1


async def test_key_of_the_settings_and_removed_keys_are_not_noted(world: World) -> None:
    world.use.note(of_client(replace(KEY.as_client(), key_id=None), Source(address="192.0.2.1")))
    await world.use.aclose()
    await world.storage.transact(lambda tx: tx.records.remove(API_KEYS, KEY.id))
    await world.call()
    assert await world.new_addresses() == []


async def test_requests_continue_while_the_store_fails_and_the_use_is_noted_later(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    async def failing(_: object) -> None:
        tried.append(1)
        raise StorageUnavailable("The store cannot be used.")

    with monkeypatch.context() as broken:
        broken.setattr(world.storage, "transact", failing)
        for _ in range(5):
            await world.call()
    assert len(tried) == 1, "it pauses after a failure"
    assert len(caplog.records) == 1
    loop = asyncio.get_running_loop()
    later = loop.time() + PAUSE_S
    monkeypatch.setattr(loop, "time", lambda: later)
    await world.call()
    assert await world.last_used_on() == "2030-01-01"
    assert await world.new_addresses() == ["192.0.2.1"]
