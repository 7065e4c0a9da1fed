"""Password hashing: cost, the queue, the worker."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from argon2.exceptions import HashingError, VerificationError
from argon2.low_level import Type, hash_secret, verify_secret

from chatbot.adapters.security import argon2_hasher
from chatbot.adapters.security.argon2_hasher import MAX_WAITING, Argon2Hasher
from chatbot.adapters.security.argon2_parameters import MAXIMUM, MINIMUM, Argon2Parameters, work_of
from chatbot.domain.errors import RateLimited, ShuttingDown
from chatbot.domain.identity import scheme_of
from conversation import PATIENCE_S


def priority_of(thread: int) -> int:
    if sys.platform == "win32":
        return 0
    return os.getpriority(os.PRIO_PROCESS, thread)


PRIORITY_AT_IMPORT = priority_of(os.getpid())
CHEAP = Argon2Parameters(memory_kib=64, time_cost=1, parallelism=1)
SALT, DIGEST = "c2FsdHNhbHRzYWx0c2FsdA", "ZGlnZXN0ZGlnZXN0ZGlnZXN0ZGlnZXN0ZGlnZXN0ZGk"
UNREADABLE = [
    "",
    "x",
    "plain text",
    "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
    f"$argon2id$v=19$m=64,t=1,p=1${SALT}",
    f"$argon2id$v=19$m=64,t=1,p=1$c2E${DIGEST}",
    f"$argon2id$v=19$m=64,t=1,p=1${SALT}$A",
    f"$argon2id$v=20$m=64,t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=064,t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=1,t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=64,t=1,p=1${SALT}${DIGEST}\n",
    f"$argon2id$v=19$m=64,t=1,p=1${SALT}${DIGEST}\x00",
    f"$argon2ñ$v=19$m=64,t=1,p=1${SALT}${DIGEST}",
]
HOSTILE = [
    f"$argon2id$v=19$m=4194304,t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=64,t=4294967295,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=262144,t=1,p=1024${SALT}${DIGEST}",
    f"$argon2id$v=19$m={'9' * 400},t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=64,t=1,p=1${SALT}${'A' * 100_000}",
]


class Computed:
    """Records every hash that the library verifies."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hashes: list[bytes] = []
        monkeypatch.setattr(argon2_hasher, "verify_secret", self._verify_secret)

    def _verify_secret(self, stored: bytes, secret: bytes, variant: Type) -> bool:
        self.hashes.append(stored)
        return verify_secret(stored, secret, variant)


class Gate:
    """Blocks the worker until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.reached = threading.Event()
        self.calls = 0
        monkeypatch.setattr(argon2_hasher, "hash_secret", self._hash_secret)

    def _hash_secret(self, *_: object, **__: object) -> bytes:
        self.calls += 1
        self.reached.set()
        assert self.open.wait(10)
        return b"hash"

    async def wait_until_reached(self) -> None:
        await asyncio.to_thread(self.reached.wait, 10)


@pytest.fixture
async def hasher() -> AsyncIterator[Argon2Hasher]:
    made = Argon2Hasher(CHEAP, below_minimum_for_tests=True)
    yield made
    await made.aclose()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, hasher: Argon2Hasher) -> Iterator[Gate]:
    made = Gate(monkeypatch)
    yield made
    made.open.set()


def encoded(cost: Argon2Parameters, *, variant: Type) -> str:
    parameters = {
        "memory_cost": cost.memory_kib,
        "time_cost": cost.time_cost,
        "parallelism": cost.parallelism,
    }
    return hash_secret(b"secret", b"s" * 16, hash_len=32, type=variant, **parameters).decode()


def looks_like(memory_kib: int, time_cost: int, parallelism: int, variant: str = "argon2id") -> str:
    return f"${variant}$v=19$m={memory_kib},t={time_cost},p={parallelism}${SALT}${DIGEST}"


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_hash_verifies_only_its_own_password(hasher: Argon2Hasher) -> None:
    password_hash = await hasher.hash("contraseña larga")
    assert await hasher.verify("contraseña larga", password_hash)
    assert not await hasher.verify("Contraseña larga", password_hash)


async def test_two_hashes_of_one_password_differ(hasher: Argon2Hasher) -> None:
    assert await hasher.hash("same") != await hasher.hash("same")


async def test_without_arguments_a_hash_costs_what_owasp_asks_for() -> None:
    hasher = Argon2Hasher()
    password_hash = await hasher.hash("x")
    await hasher.aclose()
    assert password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize(
    "cost",
    [
        Argon2Parameters(memory_kib=19_455, time_cost=2, parallelism=1),
        Argon2Parameters(memory_kib=19_456, time_cost=1, parallelism=1),
        Argon2Parameters(memory_kib=262_145, time_cost=2, parallelism=1),
        Argon2Parameters(memory_kib=19_456, time_cost=17, parallelism=1),
    ],
)
def test_a_cost_below_the_floor_or_above_the_ceiling_is_refused(cost: Argon2Parameters) -> None:
    with pytest.raises(ValueError, match=r"minimum|maximum"):
        Argon2Hasher(cost)


async def test_an_unknown_user_costs_one_computation_with_the_current_cost(
    hasher: Argon2Hasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = Computed(monkeypatch)
    for _ in range(3):
        assert not await hasher.verify("anything", None)
    assert len(computed.hashes) == 3
    assert all(stored.startswith(b"$argon2id$v=19$m=64,t=1,p=1$") for stored in computed.hashes)


@pytest.mark.parametrize("stored", [*UNREADABLE, *HOSTILE])
async def test_an_unreadable_or_hostile_hash_costs_what_an_unknown_user_costs(
    hasher: Argon2Hasher, monkeypatch: pytest.MonkeyPatch, stored: str
) -> None:
    dummy = hasher._dummies[hasher._current]
    computed = Computed(monkeypatch)
    assert not await hasher.verify("anything", stored)
    assert computed.hashes[-1] == dummy
    assert computed.hashes.count(dummy) == 1


@pytest.mark.parametrize("stored", HOSTILE)
async def test_a_hash_with_hostile_parameters_never_reaches_the_library(
    hasher: Argon2Hasher, monkeypatch: pytest.MonkeyPatch, stored: str
) -> None:
    computed = Computed(monkeypatch)
    assert not await hasher.verify("anything", stored)
    assert stored.encode() not in computed.hashes


@pytest.mark.parametrize("variant", [Type.I, Type.D, Type.ID])
async def test_hashes_of_every_argon2_variant_can_be_verified(
    hasher: Argon2Hasher, variant: Type
) -> None:
    stored = encoded(Argon2Parameters(memory_kib=128, time_cost=2, parallelism=2), variant=variant)
    assert await hasher.verify("secret", stored)
    assert not await hasher.verify("other", stored)


@pytest.mark.parametrize(
    ("stored", "weaker"),
    [
        (looks_like(19_456, 2, 1), False),
        (looks_like(65_536, 3, 4), False),
        (looks_like(262_144, 16, 16), False),
        (looks_like(47_104, 1, 1), False),  # fewer time_cost, but more work: OWASP's own equivalent
        (looks_like(12_288, 3, 1), True),
        (looks_like(19_456, 1, 1), True),
        (looks_like(64, 16, 16), True),
        (looks_like(65_536, 3, 4, "argon2i"), True),
        (looks_like(65_536, 3, 4, "argon2d"), True),
        ("not a hash", False),
        (looks_like(4_194_304, 1, 1), False),
    ],
)
def test_hash_needs_rehashing_only_if_that_makes_it_stronger(stored: str, *, weaker: bool) -> None:
    assert Argon2Hasher().needs_rehash(stored) is weaker


def test_fewer_lanes_are_weaker_when_the_rest_is_the_same() -> None:
    hasher = Argon2Hasher(Argon2Parameters(memory_kib=65_536, time_cost=3, parallelism=4))
    assert hasher.needs_rehash(looks_like(65_536, 3, 1))
    assert not hasher.needs_rehash(looks_like(65_536, 3, 8))


def test_the_ceiling_admits_what_rfc_9106_and_argon2_cffi_recommend() -> None:
    for memory_kib, time_cost, parallelism in ((65_536, 3, 4), (102_400, 2, 8), (19_456, 2, 1)):
        assert Argon2Parameters(
            memory_kib=memory_kib, time_cost=time_cost, parallelism=parallelism
        ).is_within(MAXIMUM)
    assert MINIMUM.is_within(MAXIMUM)


async def test_one_hash_runs_32_queue_and_the_next_gets_a_retry_after(
    hasher: Argon2Hasher, gate: Gate
) -> None:
    calls = [asyncio.create_task(hasher.hash("x")) for _ in range(1 + MAX_WAITING)]
    await gate.wait_until_reached()
    with pytest.raises(RateLimited) as refused:
        await asyncio.wait_for(hasher.hash("x"), PATIENCE_S)
    with pytest.raises(RateLimited):
        await asyncio.wait_for(hasher.verify("x", None), PATIENCE_S)
    assert refused.value.retry_after_s > 0
    gate.open.set()
    assert await asyncio.gather(*calls) == ["hash"] * 33
    assert await hasher.hash("x") == "hash"


async def test_cancelled_waiter_frees_its_place_and_is_never_hashed(
    hasher: Argon2Hasher, gate: Gate
) -> None:
    served = asyncio.create_task(hasher.hash("x"))
    await gate.wait_until_reached()
    for _ in range(3):
        waiters = [asyncio.create_task(hasher.hash("x")) for _ in range(MAX_WAITING)]
        await settle()
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
        assert all(waiter.cancelled() for waiter in waiters)
    gate.open.set()
    assert await served == "hash"
    assert await hasher.hash("x") == "hash"
    assert gate.calls == 2


async def test_call_cancelled_during_service_keeps_its_slot_until_it_ends(
    hasher: Argon2Hasher, gate: Gate
) -> None:
    served = asyncio.create_task(hasher.hash("x"))
    await gate.wait_until_reached()
    served.cancel()
    await asyncio.gather(served, return_exceptions=True)
    waiters = [asyncio.create_task(hasher.hash("x")) for _ in range(MAX_WAITING)]
    await settle()
    with pytest.raises(RateLimited):
        await asyncio.wait_for(hasher.hash("x"), PATIENCE_S)
    gate.open.set()
    assert await asyncio.gather(*waiters) == ["hash"] * MAX_WAITING


async def test_closing_finishes_the_hash_in_progress_and_fails_those_that_wait(
    hasher: Argon2Hasher, gate: Gate
) -> None:
    served = asyncio.create_task(hasher.hash("x"))
    await gate.wait_until_reached()
    waiters = [asyncio.create_task(hasher.hash("x")) for _ in range(3)]
    await settle()
    closing = asyncio.create_task(hasher.aclose())
    await settle()
    with pytest.raises(ShuttingDown):
        await hasher.hash("x")
    gate.open.set()
    await closing
    assert await served == "hash"
    for outcome in await asyncio.gather(*waiters, return_exceptions=True):
        assert isinstance(outcome, ShuttingDown)
    assert gate.calls == 1


async def test_closing_twice_or_before_the_first_use_is_fine() -> None:
    hasher = Argon2Hasher()
    await hasher.aclose()
    await hasher.aclose()


def argon2_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("argon2")]


async def test_there_is_one_worker_from_the_first_use_until_it_is_closed() -> None:
    before = len(argon2_threads())
    hasher = Argon2Hasher(CHEAP, below_minimum_for_tests=True)
    assert len(argon2_threads()) == before
    await asyncio.gather(*(hasher.hash("x") for _ in range(8)))
    assert len(argon2_threads()) == before + 1
    await hasher.aclose()
    assert len(argon2_threads()) == before


@pytest.mark.skipif(sys.platform != "linux", reason="nice values of threads are Linux's")
async def test_only_the_worker_runs_at_low_priority(
    hasher: Argon2Hasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def note_priority(*_: object, **__: object) -> bytes:
        seen.append(priority_of(threading.get_native_id()))
        return b"hash"

    monkeypatch.setattr(argon2_hasher, "hash_secret", note_priority)
    await hasher.hash("x")
    assert seen == [max(10, PRIORITY_AT_IMPORT)]
    assert priority_of(os.getpid()) == PRIORITY_AT_IMPORT


@pytest.mark.parametrize("failure", [HashingError, VerificationError])
async def test_without_memory_for_a_hash_the_caller_gets_a_retry_after(
    hasher: Argon2Hasher, monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure("Memory allocation error")

    monkeypatch.setattr(argon2_hasher, "hash_secret", fail)
    monkeypatch.setattr(argon2_hasher, "verify_secret", fail)
    with pytest.raises(RateLimited):
        await (hasher.hash("x") if failure is HashingError else hasher.verify("x", None))


DEAR = Argon2Parameters(memory_kib=512, time_cost=3, parallelism=4)


async def test_a_check_computes_a_hash_of_each_stored_scheme_for_every_user(
    hasher: Argon2Hasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    dear, cheap = encoded(DEAR, variant=Type.ID), encoded(CHEAP, variant=Type.ID)
    old = encoded(CHEAP, variant=Type.I)
    hasher.pad_to({scheme_of(each): 1 for each in (dear, cheap, old, *HOSTILE, *UNREADABLE)})
    works = []
    for stored in (dear, cheap, old, None, "not a hash", HOSTILE[0]):
        computed = Computed(monkeypatch)
        assert await hasher.verify("secret", stored) is (stored in {dear, cheap, old})
        assert not await hasher.verify("other", stored)
        works.append([scheme_of(each.decode()) for each in computed.hashes])
    assert all(work == works[0] for work in works)
    assert set(works[0]) == {scheme_of(each) for each in (dear, cheap, old)}


async def test_scheme_seen_before_its_lookup_is_padded_from_then_on(
    hasher: Argon2Hasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    dear = encoded(DEAR, variant=Type.ID)
    assert await hasher.verify("secret", dear)
    computed = Computed(monkeypatch)
    assert not await hasher.verify("secret", None)
    assert scheme_of(dear) in {scheme_of(each.decode()) for each in computed.hashes}


async def test_padding_is_bounded_and_keeps_the_most_common_schemes(
    hasher: Argon2Hasher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(argon2_hasher, "MAX_PADDING", work_of(DEAR) + work_of(CHEAP))
    rare = encoded(Argon2Parameters(memory_kib=256, time_cost=1, parallelism=1), variant=Type.ID)
    common = [encoded(cost, variant=Type.ID) for cost in (DEAR, CHEAP)]
    counts = {scheme_of(rare): 1} | {scheme_of(each): 5 for each in common}
    for _ in range(2):
        hasher.pad_to(counts)
        assert await hasher.verify("secret", rare), "it is checked all the same"
    computed = Computed(monkeypatch)
    assert not await hasher.verify("other", None)
    assert {scheme_of(each.decode()) for each in computed.hashes} == set(map(scheme_of, common))
    assert caplog.text.count("m=256,t=1,p=1") == 1


async def test_hashing_worker_rests_as_long_as_it_hashed_while_chats_run(
    hasher: Argon2Hasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    hashed_s = 0.2
    monkeypatch.setattr(hasher._closed, "wait", rests.append)
    monkeypatch.setattr(argon2_hasher, "monotonic", iter([0.0, hashed_s, 5.0]).__next__)
    hasher.rest_while(lambda: False)
    await hasher.hash("x")
    await asyncio.to_thread(hasher._worker.submit(len, "").result)
    assert rests == []
    hasher.rest_while(lambda: True)
    monkeypatch.setattr(argon2_hasher, "monotonic", iter([1.0, 1.0 + hashed_s]).__next__)
    await hasher.hash("x")
    await asyncio.to_thread(hasher._worker.submit(len, "").result)
    assert rests == [pytest.approx(hashed_s)]


async def test_an_answer_does_not_wait_for_the_rest_and_closing_ends_it(
    hasher: Argon2Hasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(argon2_hasher, "LONGEST_REST_S", 600.0)
    monkeypatch.setattr(
        argon2_hasher, "monotonic", iter([0.0, 600.0]).__next__
    )  # as if it had hashed for long
    hasher.rest_while(lambda: True)
    await asyncio.wait_for(hasher.hash("x"), PATIENCE_S)
    await asyncio.wait_for(hasher.aclose(), PATIENCE_S)
