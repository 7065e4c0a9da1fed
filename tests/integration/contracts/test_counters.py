"""What every engine of counters promises."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta

import pytest

from chatbot.domain.ports.counters import Addition, CounterKey, Counters
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from counter_contract import ELSEWHERE, HOUR, ONE, TWO, CounterContract, addition, total
from repositories import each_call_apart
from samples import T0


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


@pytest.fixture
def counters(storage: Storage) -> Iterator[Counters]:
    with each_call_apart(storage) as transaction:
        yield transaction.counters


class TestStores(CounterContract):
    """Every store."""


def test_nothing_is_subtracted_below_zero_or_from_what_was_cleared(counters: Counters) -> None:
    reserved = addition(5)
    counters.settle([reserved], [], now=T0)
    counters.add([reserved], now=T0)
    counters.settle([addition(9)], [], now=T0)
    assert counters.read([ONE], now=T0)[ONE] == []
    counters.add([reserved], now=T0)
    assert total(counters) == 5
    counters.clear([ONE])
    counters.settle([reserved], [addition(2, TWO)], now=T0)
    assert [total(counters, key) for key in (ONE, TWO)] == [0, 2]


def test_clearing_a_counter_affects_no_other_counter(counters: Counters) -> None:
    counters.add([addition(1), addition(2, TWO), addition(4, ELSEWHERE)], now=T0)
    counters.clear([ONE, ELSEWHERE, CounterKey("tokens", "nobody")])
    counters.clear([])
    assert [total(counters, key) for key in (ONE, TWO, ELSEWHERE)] == [0, 2, 0]
    assert not counters.add([addition(3, limit=3)], now=T0)


ROWS = ("2026-03-01|ana|m|tokens", "2026-03-01|ana|m|turns", "2026-03-01|anabel|m|turns")
NEXT_DAY = "2026-03-02|bea|m|turns"
USAGE = [*ROWS, NEXT_DAY]


def scanned(counters: Counters, *prefixes: str, now: datetime = T0) -> dict[str, int]:
    return dict(counters.scan("usage", *prefixes, now=now))


@pytest.fixture
def rows(counters: Counters) -> Counters:
    added = [addition(n + 1, CounterKey("usage", name)) for n, name in enumerate(USAGE)]
    counters.add([*added, addition(50, CounterKey("budget", ROWS[0]))], now=T0)
    return counters


@pytest.mark.parametrize(
    ("prefixes", "found"),
    [
        ([""], USAGE),
        ([], []),
        (["2026-03-01|"], ROWS),
        (["2026-03-01|ana|"], ROWS[:2]),
        (["2026-03-01|ana"], ROWS),
        ([NEXT_DAY], [NEXT_DAY]),
        ([NEXT_DAY + "x", "2026-03-01|ANA", "%", "_", "2026-03-0?"], []),
        (["2026-03-02|", "2026-03-01|anabel|", "2026-03-02|b"], [ROWS[2], NEXT_DAY]),
        (["2026", "2026-03"], USAGE),
    ],
)
def test_scan_returns_the_totals_of_the_names_with_a_prefix(
    rows: Counters, prefixes: list[str], found: list[str]
) -> None:
    assert scanned(rows, *prefixes) == {name: USAGE.index(name) + 1 for name in found}


def test_scan_adds_up_what_counts_now_and_omits_the_rest(rows: Counters) -> None:
    key, minute = CounterKey("usage", NEXT_DAY), timedelta(minutes=1)
    rows.add([addition(10, key, until=minute)], now=T0)
    rows.settle([addition(1, CounterKey("usage", ROWS[0]))], [], now=T0)
    assert scanned(rows, "2026") == {ROWS[1]: 2, ROWS[2]: 3, NEXT_DAY: 14}
    assert scanned(rows, NEXT_DAY, now=T0 + minute) == {NEXT_DAY: 4}
    assert scanned(rows, "2026", now=T0 + HOUR) == {}


@pytest.mark.parametrize("last", ["z", "\ud7ff", "\U0010ffff", "\x7f", "%", "_", "\\", "ñ", "|"])
def test_prefix_may_end_with_any_character(counters: Counters, last: str) -> None:
    prefix = f"a{last}"
    names = [
        prefix,
        f"{prefix}\U0010ffff",
        f"{prefix}a",
        f"{prefix}\x01",
        "a",
        "b",
        "a\x01",
        "\ue000",
    ]
    counters.add([addition(1, CounterKey("usage", name)) for name in names], now=T0)
    assert set(scanned(counters, prefix)) == {name for name in names if name.startswith(prefix)}


def test_scan_of_many_prefixes_finds_all(counters: Counters) -> None:
    names = [f"{number:03d}|ana" for number in range(130)]
    counters.add([addition(2, CounterKey("usage", name)) for name in names], now=T0)
    prefixes = [f"{number:03d}|" for number in range(1, 120)]
    assert scanned(counters, *prefixes) == dict.fromkeys(names[1:120], 2)


async def test_only_counters_of_a_bounded_kind_are_dropped(closed_storage: Storage) -> None:
    """Budgets and usage are never forgotten, however many people there are."""
    many = [addition(1, CounterKey("usage", f"{number}|turns")) for number in range(10_100)]
    async with closed_storage:
        for each in [many[n : n + 1000] for n in range(0, len(many), 1000)]:
            await closed_storage.transact(lambda tx, some=each: tx.counters.add(some, now=T0))  # type: ignore[misc]
        found = await closed_storage.transact(lambda tx: tx.counters.scan("usage", "", now=T0))
    assert len(found) == len(many)


async def test_concurrent_additions_reach_and_never_exceed_the_limit(storage: Storage) -> None:
    def reserve(tx: Transaction, number: int) -> bool:
        until = HOUR + timedelta(seconds=number % 3)
        both = [addition(10, until=until, limit=100), addition(1, ELSEWHERE, limit=50)]
        return not tx.counters.add(both if number % 2 else both[::-1], now=T0)

    added = await asyncio.gather(
        *(storage.transact(lambda tx, n=number: reserve(tx, n)) for number in range(40))  # type: ignore[misc]
    )
    found = await storage.transact(lambda tx: tx.counters.read([ONE, ELSEWHERE], now=T0))
    assert sum(added) == 10
    assert [sum(count.amount for count in found[key]) for key in (ONE, ELSEWHERE)] == [100, 10]


async def test_concurrent_unlimited_additions_lose_nothing(storage: Storage) -> None:
    def count(tx: Transaction, number: int) -> None:
        both = [addition(1), addition(2, TWO)]
        tx.counters.add(both if number % 2 else both[::-1], now=T0)

    def settle(tx: Transaction, number: int) -> None:
        tx.counters.settle([addition(1)], [addition(3, ELSEWHERE)], now=T0 + number * HOUR / 80)

    await asyncio.gather(
        *(storage.transact(lambda tx, n=number: count(tx, n)) for number in range(40)),  # type: ignore[misc]
        *(storage.transact(lambda tx: count(tx, 0)) for _ in range(9)),
    )
    await asyncio.gather(
        *(storage.transact(lambda tx, n=number: settle(tx, n)) for number in range(40))  # type: ignore[misc]
    )
    keys = [ONE, TWO, ELSEWHERE]
    found = await storage.transact(lambda tx: tx.counters.read(keys, now=T0))
    assert [sum(count.amount for count in found[key]) for key in keys] == [9, 98, 120]


async def test_decision_in_an_exclusive_section_is_made_one_at_a_time(storage: Storage) -> None:
    def take_a_turn(tx: Transaction) -> int:
        with tx.counters.exclusive([ONE, ELSEWHERE]) as counters:
            held = total(counters)
            counters.add([addition(1)], now=T0)
            counters.add([addition(1, ELSEWHERE, limit=99)], now=T0)
            return held

    held = await asyncio.gather(*(storage.transact(take_a_turn) for _ in range(30)))
    assert sorted(held) == list(range(30))


@pytest.mark.parametrize(("names", "most"), [(1, 3), (300, 260)])
async def test_expired_amounts_are_dropped_as_others_are_added(
    storage: Storage, names: int, most: int
) -> None:
    """Otherwise the store would grow with every window."""

    def count(tx: Transaction, number: int) -> None:
        at = T0 + number * HOUR
        key = CounterKey("requests", f"{number % names}")
        tx.counters.add([Addition(key=key, amount=1, expires_at=at + HOUR)], now=at)

    def still_stored(tx: Transaction) -> int:
        keys = [CounterKey("requests", f"{number}") for number in range(300)]
        found = tx.counters.read(keys, now=T0 - HOUR)  # by a clock that says that none has expired
        return sum(map(len, found.values()))

    for number in range(300):
        await storage.transact(lambda tx, n=number: count(tx, n))  # type: ignore[misc]
    assert 1 <= await storage.transact(still_stored) <= most


async def test_counts_are_kept_by_a_store_that_is_opened_again(closed_storage: Storage) -> None:
    async with closed_storage:
        await closed_storage.transact(lambda tx: tx.counters.add([addition(7)], now=T0))
    async with closed_storage:
        found = await closed_storage.transact(lambda tx: total(tx.counters))
    assert found == 7
