"""What every engine of counters promises."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta

import pytest

from chatbot.domain.ports.counters import Addition, Count, CounterKey, Counters
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from repositories import each_call_apart
from samples import T0

ONE, TWO = CounterKey("tokens", "ana"), CounterKey("tokens", "bea")
ELSEWHERE = CounterKey("requests", "ana")
HOUR = timedelta(hours=1)
ENORMOUS = 10**15


def addition(
    amount: int = 1, key: CounterKey = ONE, until: timedelta = HOUR, limit: int | None = None
) -> Addition:
    return Addition(key=key, amount=amount, expires_at=T0 + until, limit=limit)


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


@pytest.fixture
def counters(storage: Storage) -> Iterator[Counters]:
    with each_call_apart(storage) as transaction:
        yield transaction.counters


def total(counters: Counters, key: CounterKey = ONE, now: datetime = T0) -> int:
    return sum(count.amount for count in counters.read([key], now=now)[key])


def test_new_counter_is_empty(counters: Counters) -> None:
    assert counters.read([ONE, TWO], now=T0) == {ONE: [], TWO: []}
    assert counters.read([], now=T0) == {}


def test_amounts_that_expire_together_are_one_and_others_are_apart(counters: Counters) -> None:
    late = HOUR + timedelta(microseconds=1)
    for until in (late, HOUR, HOUR):
        assert not counters.add([addition(5, until=until)], now=T0)
    assert counters.read([ONE], now=T0)[ONE] == [Count(T0 + HOUR, 10), Count(T0 + late, 5)]


def test_counters_of_other_names_and_kinds_are_apart(counters: Counters) -> None:
    counters.add([addition(1), addition(2, TWO), addition(4, ELSEWHERE)], now=T0)
    assert [total(counters, key) for key in (ONE, TWO, ELSEWHERE)] == [1, 2, 4]


def test_amounts_of_one_call_for_one_counter_are_added_up(counters: Counters) -> None:
    assert not counters.add([addition(1), addition(2), addition(4, until=2 * HOUR)], now=T0)
    assert total(counters) == 7
    assert counters.add([addition(2, limit=9), addition(1, limit=9)], now=T0)
    assert total(counters) == 7


def test_amount_does_not_count_from_its_expiry_on(counters: Counters) -> None:
    counters.add([addition(5)], now=T0)
    almost = T0 + HOUR - timedelta(microseconds=1)
    assert total(counters, now=almost) == 5
    assert total(counters, now=T0 + HOUR) == 0
    assert not counters.add([addition(9, until=2 * HOUR, limit=9)], now=T0 + HOUR)


def test_limit_is_reached_and_not_exceeded(counters: Counters) -> None:
    assert not counters.add([addition(7, limit=10)], now=T0)
    too_much = addition(4, limit=10)
    assert list(counters.add([too_much], now=T0)) == [too_much]
    assert not counters.add([addition(3, until=2 * HOUR, limit=10)], now=T0)
    assert total(counters) == 10


def test_all_are_added_or_none(counters: Counters) -> None:
    fits, too_much = addition(1, TWO, limit=5), addition(6, limit=5)
    unlimited = addition(1, ELSEWHERE)
    assert list(counters.add([fits, too_much, unlimited], now=T0)) == [too_much]
    assert [total(counters, key) for key in (ONE, TWO, ELSEWHERE)] == [0, 0, 0]


def test_addition_without_a_limit_always_counts(counters: Counters) -> None:
    assert not counters.add([addition(ENORMOUS)], now=T0)
    assert not counters.add([addition(ENORMOUS)], now=T0)
    assert total(counters) == 2 * ENORMOUS
    assert counters.add([addition(1, limit=ENORMOUS)], now=T0)


def test_reservation_is_replaced_by_what_was_used_whatever_the_limit(counters: Counters) -> None:
    reserved = addition(100, until=timedelta(minutes=3), limit=100)
    assert not counters.add([reserved], now=T0)
    counters.settle([reserved], [addition(150)], now=T0)
    assert counters.read([ONE], now=T0)[ONE] == [Count(T0 + HOUR, 150)]


def test_reservations_that_expire_together_are_settled_one_by_one(counters: Counters) -> None:
    reserved = [addition(n, until=timedelta(minutes=3)) for n in (10, 20, 30)]
    for each in reserved:
        counters.add([each], now=T0)
    counters.settle([reserved[1]], [addition(1)], now=T0)
    assert total(counters) == 41
    counters.settle([reserved[0], reserved[2]], [], now=T0)
    assert total(counters) == 1


def test_reservation_of_a_dead_process_expires_and_the_budget_stays(counters: Counters) -> None:
    counters.add([addition(30)], now=T0)
    reserved = addition(70, until=timedelta(minutes=3), limit=100)
    assert not counters.add([reserved], now=T0)
    assert counters.add([addition(1, limit=100)], now=T0)
    later = T0 + timedelta(minutes=3)
    assert total(counters, now=later) == 30
    assert not counters.add([addition(70, limit=100)], now=later)
    counters.settle([reserved], [], now=later)
    assert total(counters, now=later) == 100, "what has expired is not subtracted from the rest"


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


def test_erasing_removes_the_counters_with_this_part_of_every_kind(rows: Counters) -> None:
    others = [
        CounterKey("usage", name) for name in ("ana", "bea|ana", "x|Ana|y", "x|an|a", "", "||")
    ]
    rows.add([addition(1, key) for key in others], now=T0)
    rows.add([addition(1, CounterKey("usage", ROWS[0]), until=2 * HOUR)], now=T0)
    assert dict(rows.erase("ana")) == {"usage": 4, "budget": 1}
    left = {ROWS[2]: 3, NEXT_DAY: 4, "x|Ana|y": 1, "x|an|a": 1, "": 1, "||": 1}
    assert scanned(rows, "") == left
    assert dict(rows.scan("budget", "", now=T0)) == {}
    assert dict(rows.erase("ana")) == {}


@pytest.mark.parametrize("part", ["", "ana|m", "|"])
def test_nothing_is_erased_for_what_cannot_be_a_part_of_a_name(rows: Counters, part: str) -> None:
    with pytest.raises(ValueError, match="part of a counter's name"):
        rows.erase(part)
    assert len(scanned(rows, "")) == len(USAGE)


async def test_only_counters_of_a_bounded_kind_are_dropped(closed_storage: Storage) -> None:
    """Budgets and usage are never forgotten, however many people there are."""
    many = [addition(1, CounterKey("usage", f"{number}|turns")) for number in range(10_100)]
    async with closed_storage:
        for each in [many[n : n + 1000] for n in range(0, len(many), 1000)]:
            await closed_storage.transact(lambda tx, some=each: tx.counters.add(some, now=T0))  # type: ignore[misc]
        found = await closed_storage.transact(lambda tx: tx.counters.scan("usage", "", now=T0))
    assert len(found) == len(many)


@pytest.mark.parametrize("name", ["", "Ana", "ñandú 😀", "../../x", "a'b\"; DROP", "x" * 300])
def test_name_may_be_any_text(counters: Counters, name: str) -> None:
    key = CounterKey("tokens", name)
    counters.add([addition(3, key), addition(1)], now=T0)
    assert total(counters, key) == 3


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
