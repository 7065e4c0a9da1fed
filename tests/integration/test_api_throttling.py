"""Login throttling without lockout, over a real uvicorn."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.security.argon2_hasher import Argon2Hasher
from chatbot.adapters.security.argon2_parameters import Argon2Parameters
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from service import PASSWORD, Service, said_by, serving, settings_for_tests

KNOWN, DISABLED, UNKNOWN = "luis@example.com", "off@example.com", "nobody@example.com"
WRONG = "a quite different set of words"


class CountingHasher(Argon2Hasher):
    """Hashes cheaply and counts the verified passwords."""

    def __init__(self) -> None:
        super().__init__(
            Argon2Parameters(memory_kib=64, time_cost=1, parallelism=1),
            below_minimum_for_tests=True,
        )
        self.checked = 0

    async def verify(self, password: str, password_hash: str | None) -> bool:
        self.checked += 1
        return await super().verify(password, password_hash)


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher()


@asynccontextmanager
async def serving_users(hasher: Argon2Hasher, storage_url: str) -> AsyncGenerator[Service]:
    """A service that trusts the forwarded headers of a proxy on this machine."""
    settings = settings_for_tests(storage_url=storage_url, trusted_proxies=["127.0.0.1"])
    model = ScriptedModel(lambda _: "Of course.")
    async with serving(settings, model=model, hasher=hasher) as service:
        yield service


@asynccontextmanager
async def serving_in_memory(hasher: Argon2Hasher) -> AsyncGenerator[Service]:
    async with serving_users(hasher, "memory:") as service:
        await service.add_user(KNOWN)
        yield service


async def make_users(folder: Path) -> None:
    """A folder with an active and a disabled user."""
    async with JsonFileStorage(folder) as storage:
        await storage.make_initial_records()
    async with serving_users(CountingHasher(), f"json:{folder}") as service:
        for email in (KNOWN, DISABLED):
            await service.add_user(email)
    path = folder / "auth" / "users.json"
    document = json.loads(path.read_text("utf-8"))
    document["users"][1]["is_active"] = False
    path.write_text(json.dumps(document), "utf-8")


async def log_in(
    service: Service, email: str, password: str = WRONG, *, client_ip: str = "192.0.2.1"
) -> httpx.Response:
    body = {"email": email, "password": password}
    return await service.client.post(
        "/auth/login", json=body, headers={"X-Forwarded-For": client_ip}
    )


def assert_throttled(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 30


async def test_known_unknown_and_disabled_accounts_are_throttled_with_the_same_response_and_work(
    tmp_path: Path, hasher: CountingHasher
) -> None:
    await make_users(tmp_path)
    seen = []
    async with serving_users(hasher, f"json:{tmp_path}") as service:
        for number, email in enumerate((KNOWN, DISABLED, UNKNOWN)):
            before = hasher.checked
            passwords = [WRONG] * 6 + [PASSWORD]
            client_ip = f"192.0.2.{number}"
            answers = [
                await log_in(service, email, each, client_ip=client_ip) for each in passwords
            ]
            assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
            for answer in answers[5:]:
                assert_throttled(answer)
            seen.append(
                (
                    [said_by(answer, but="retry-after") for answer in answers],
                    hasher.checked - before,
                )
            )
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][1] == 5, "what is throttled is not hashed"


async def test_counters_survive_a_restart(tmp_path: Path, hasher: CountingHasher) -> None:
    await make_users(tmp_path)
    async with serving_users(CountingHasher(), f"json:{tmp_path}") as service:
        for _ in range(5):
            await log_in(service, KNOWN)
    async with serving_users(hasher, f"json:{tmp_path}") as service:
        assert_throttled(await log_in(service, KNOWN, PASSWORD))
    assert hasher.checked == 0


async def test_counter_files_contain_no_names_or_addresses(
    tmp_path: Path, hasher: CountingHasher
) -> None:
    async with serving_users(hasher, f"json:{tmp_path}") as service:
        await log_in(service, "canary@example.com", client_ip="192.0.2.111")
    files = [path for path in (tmp_path / "counters").rglob("*") if path.is_file()]
    assert any(path.parent.name == "attempts" for path in files)
    assert not any(b"canary" in path.read_bytes() for path in files)
    counters = [path for path in files if path.parent.name != "audit"]
    assert not any(b"192.0.2.111" in path.read_bytes() for path in counters)


@pytest.mark.parametrize("email", [KNOWN, UNKNOWN])
async def test_of_fifty_concurrent_guesses_five_are_hashed(
    tmp_path: Path, hasher: CountingHasher, email: str
) -> None:
    await make_users(tmp_path)
    async with serving_users(hasher, f"json:{tmp_path}") as service:
        guesses = (log_in(service, email, f"{WRONG} {n}") for n in range(50))
        statuses = [answer.status_code for answer in await asyncio.gather(*guesses)]
    assert (statuses.count(401), statuses.count(429)) == (5, 45)
    assert hasher.checked == 5


async def test_fifty_failures_from_an_address_throttle_it_and_no_other(
    hasher: CountingHasher,
) -> None:
    async with serving_in_memory(hasher) as service:
        for n in range(50):
            answer = await log_in(service, f"user{n}@example.com", client_ip=f"2001:db8::{n:x}")
            assert answer.status_code == 401
        assert_throttled(await log_in(service, KNOWN, PASSWORD, client_ip="2001:db8::ffff"))
        assert hasher.checked == 50
        elsewhere = await log_in(service, KNOWN, PASSWORD, client_ip="2001:db8:0:1::1")
        assert elsewhere.status_code == 200


async def test_forwarded_headers_do_not_evade_the_throttle() -> None:
    async with serving(settings_for_tests(), hasher=CountingHasher()) as service:
        for n in range(50):
            await log_in(service, f"user{n}@example.com", client_ip=f"192.0.2.{n}")
        assert_throttled(await log_in(service, UNKNOWN, client_ip="198.51.100.1"))


async def test_log_ins_that_succeed_are_not_counted(hasher: CountingHasher) -> None:
    async with serving_in_memory(hasher) as service:
        for _ in range(60):
            assert (await log_in(service, KNOWN, PASSWORD)).status_code == 200
        at_once = await asyncio.gather(*(log_in(service, KNOWN, PASSWORD) for _ in range(8)))
        assert {answer.status_code for answer in at_once} == {200}


async def test_throttled_login_leaves_tokens_and_conversations_alone(
    hasher: CountingHasher,
) -> None:
    async with serving_in_memory(hasher) as service:
        bearer = await service.bearer(KNOWN)
        for _ in range(5):
            await log_in(service, KNOWN)
        assert_throttled(await log_in(service, KNOWN))
        assert (await service.client.get("/me", headers=bearer)).status_code == 200
        chatting = await service.client.post("/chat", json={"prompt": "Hi"}, headers=bearer)
        assert chatting.status_code == 200
