"""What looking keys up and listing them costs, and that it does not say which ids exist."""

import os
import statistics
import time

import pytest

from chatbot.application.key_identification import KeyIdentification
from chatbot.domain.authorization import of_host
from chatbot.domain.credentials import ApiKey, digest_of_key, key_id_of, make_key
from chatbot.domain.identity import ClientId
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import utc_now
from chatbot.entrypoints.container.wiring import build
from chatbot.entrypoints.http.credential_cache import CredentialCache
from service import settings_for_tests

PEPPERS = [b"n" * 32, b"o" * 32]
KEYS = 1000


def key(number: int) -> tuple[str, ApiKey]:
    key_id, raw_key = make_key(os.urandom)
    made = ApiKey(
        id=key_id,
        client=ClientId(f"app-{number}"),
        scopes=frozenset({Permission.CHAT}),
        digest=digest_of_key(raw_key, PEPPERS[0]),
        created_at=utc_now(),
        created_by="cli:root",
    )
    return raw_key, made


async def filled(storage: Storage, count: int) -> list[str]:
    made = [key(number) for number in range(count)]

    def work(tx: Transaction) -> None:
        tx.api_keys.exclusive()
        for _, each in made:
            tx.api_keys.add(each)

    await storage.transact(work)
    return [raw_key for raw_key, _ in made]


def with_the_id_of(raw_key: str) -> str:
    """A key with an existing id, another secret and the right checksum."""
    key_id = key_id_of(raw_key)
    alphabet = "23456789abcdefghjkmnpqrstuvwxyz"
    number = 0
    for char in str(key_id):
        number = number * len(alphabet) + alphabet.index(char)
    id_bytes = number.to_bytes(16)
    _, found = make_key(lambda size: id_bytes if size == 16 else os.urandom(size))
    assert key_id_of(found) == key_id
    assert found != raw_key
    return found


@pytest.mark.parametrize("each_store", ["json", "sqlite"], indirect=True)
async def test_unknown_id_takes_as_long_as_a_wrong_secret(each_store: str) -> None:
    """Interleaved, so that what else the machine does affects both alike."""
    settings = settings_for_tests(storage_url=each_store)
    storage = build(settings).storage
    async with storage:
        existing = with_the_id_of((await filled(storage, 1))[0])
        identification = KeyIdentification(storage, peppers=PEPPERS, clock=utc_now)
        taken: dict[str, list[float]] = {"existing": [], "unknown": []}
        for _ in range(1500):
            for name, raw_key in (("existing", existing), ("unknown", make_key(os.urandom)[1])):
                began = time.perf_counter()
                assert await identification.look_up(raw_key) is None
                taken[name].append(time.perf_counter() - began)
    existing_us, unknown_us = [statistics.median(taken[name]) * 1e6 for name in taken]
    assert abs(existing_us - unknown_us) < 0.5 * max(existing_us, unknown_us), (
        existing_us,
        unknown_us,
    )


@pytest.mark.parametrize("each_store", ["memory", "json", "sqlite", "postgres"], indirect=True)
async def test_page_of_a_thousand_keys_is_quick(each_store: str) -> None:
    use = build(settings_for_tests(storage_url=each_store))
    async with use.storage:
        await filled(use.storage, KEYS)
        best, after, found = float("inf"), None, 0
        while True:
            began = time.perf_counter()
            page = await use.api_keys.page(of_host("root"), limit=50, after=after)
            best = min(best, time.perf_counter() - began)
            found, after = found + len(page.keys), page.next
            if after is None:
                break
    assert found == KEYS
    assert best < 0.1, "20 ms on a quiet machine"


async def test_cached_key_costs_microseconds() -> None:
    use = build(settings_for_tests())
    async with use.storage:
        [raw_key] = await filled(use.storage, 1)
        identification = KeyIdentification(use.storage, peppers=PEPPERS, clock=utc_now)
        cache = CredentialCache(identification.look_up, ttl_s=3600)
        known = await cache.identify(raw_key)
        assert known is not None

        async def call() -> None:
            assert use.identify_client(raw_key) is None
            found = await cache.identify(raw_key)
            assert found is known
            assert identification.is_live(found)

        costs = []
        for _ in range(20):
            began = time.process_time()
            for _ in range(200):
                await call()
            costs.append((time.process_time() - began) / 200)
    assert min(costs) < 100e-6
