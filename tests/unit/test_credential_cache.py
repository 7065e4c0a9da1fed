"""A credential is looked up once in five seconds; nothing that clients send makes memory grow."""

import asyncio
from dataclasses import dataclass, field

import pytest

from chatbot.entrypoints.http.credential_cache import TTL_S, CredentialCache


@dataclass
class Store:
    """Keys and their clients; the clock advances by `duration_s` during each lookup."""

    clients: dict[str, str] = field(default_factory=lambda: {"good": "client"})
    asked: list[str] = field(default_factory=list)
    now: float = 1000.0
    duration_s: float = 0.0

    async def look_up(self, credential: str) -> str | None:
        self.asked.append(credential)
        found = self.clients.get(credential)
        await asyncio.sleep(0)
        self.now += self.duration_s
        return found

    def cache(self, max_entries: int = 100) -> CredentialCache[str]:
        return CredentialCache(self.look_up, clock=lambda: self.now, max_entries=max_entries)


@pytest.mark.parametrize(("credential", "client"), [("good", "client"), ("wrong", None)])
async def test_known_and_unknown_credentials_are_looked_up_once(
    credential: str, client: str | None
) -> None:
    store = Store()
    cache = store.cache()
    assert [await cache.identify(credential) for _ in range(3)] == [client] * 3
    assert store.asked == [credential]


@pytest.mark.parametrize("duration_s", [0.0, 3.0, 30.0])
async def test_revocation_applies_within_five_seconds_however_slow_the_lookup(
    duration_s: float,
) -> None:
    store = Store(duration_s=duration_s)
    cache = store.cache()
    began = store.now
    assert await cache.identify("good") == "client"
    store.clients.clear()
    store.now = max(store.now, began + TTL_S)
    assert await cache.identify("good") is None


async def test_new_key_is_accepted_after_five_seconds() -> None:
    store = Store()
    cache = store.cache()
    assert await cache.identify("new") is None
    store.clients["new"] = "another"
    store.now += TTL_S - 0.001
    assert await cache.identify("new") is None
    store.now += 0.001
    assert await cache.identify("new") == "another"


async def test_expired_entry_is_looked_up_again_once() -> None:
    store = Store()
    cache = store.cache()
    for _ in range(3):
        await cache.identify("good")
        store.now += TTL_S
    assert store.asked == ["good"] * 3


async def test_flood_of_wrong_keys_is_bounded_and_displaces_no_known_one() -> None:
    store = Store()
    cache = store.cache(max_entries=10)
    await cache.identify("good")
    for number in range(1000):
        await cache.identify(f"wrong {number}")
    assert len(cache._unknown) == 10
    store.asked.clear()
    await cache.identify("good")
    await cache.identify("wrong 999")
    assert store.asked == []


async def test_known_keys_are_bounded_and_the_oldest_goes_first() -> None:
    store = Store(clients={str(number): str(number) for number in range(11)})
    cache = store.cache(max_entries=10)
    for number in range(11):
        await cache.identify(str(number))
    store.asked.clear()
    await cache.identify("10")
    await cache.identify("1")
    await cache.identify("0")
    assert store.asked == ["0"]


async def test_concurrent_lookups_of_one_key_keep_one_entry() -> None:
    store = Store()
    cache = store.cache(max_entries=1)
    found = await asyncio.gather(*(cache.identify("good") for _ in range(5)))
    assert found == ["client"] * 5
    assert len(cache._known) == 1


async def test_failed_lookup_is_retried() -> None:
    failures = [OSError(), None]

    async def look_up(_: str) -> str:
        if failure := failures.pop(0):
            raise failure
        return "client"

    cache = CredentialCache(look_up)
    with pytest.raises(OSError):  # noqa: PT011 # the fake's own
        await cache.identify("good")
    assert await cache.identify("good") == "client"


async def test_no_credential_is_kept_in_memory() -> None:
    cache = Store().cache()
    for credential in ("good", "lone \ud800 surrogate"):
        await cache.identify(credential)
    kept = repr((cache._known, cache._unknown))
    assert len(cache._known | cache._unknown) == 2
    assert not any(word in kept for word in ("good", "lone"))
