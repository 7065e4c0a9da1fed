"""What counters promise whose every call is a transaction of its own, in stores and in Redis."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

import pytest

from chatbot.domain.ports.counters import Addition, Count, CounterKey, Counters
from chatbot.domain.ports.limit_counters import LimitCounters
from samples import T0

ONE, TWO = CounterKey("tokens", "ana"), CounterKey("tokens", "bea")
ELSEWHERE = CounterKey("requests", "ana")
HOUR = timedelta(hours=1)
ENORMOUS = 10**15


def addition(
    amount: int = 1, key: CounterKey = ONE, until: timedelta = HOUR, limit: int | None = None
) -> Addition:
    return Addition(key=key, amount=amount, expires_at=T0 + until, limit=limit)


def total(counters: Counters, key: CounterKey = ONE, now: datetime = T0) -> int:
    return sum(count.amount for count in counters.read([key], now=now)[key])


OpenLimits = Callable[[str], AbstractAsyncContextManager[LimitCounters]]
"""Opens the counters of limits in the store of this name or in Redis; the fixture `open_limits`."""


class CounterContract:
    """The tests; a class that inherits them has a fixture `counters`."""

    def test_new_counter_is_empty(self, counters: Counters) -> None:
        assert counters.read([ONE, TWO], now=T0) == {ONE: [], TWO: []}
        assert counters.read([], now=T0) == {}

    def test_amounts_that_expire_together_are_one_and_others_are_apart(
        self, counters: Counters
    ) -> None:
        late = HOUR + timedelta(microseconds=1)
        for until in (late, HOUR, HOUR):
            assert not counters.add([addition(5, until=until)], now=T0)
        assert counters.read([ONE], now=T0)[ONE] == [Count(T0 + HOUR, 10), Count(T0 + late, 5)]

    def test_counters_of_other_names_and_kinds_are_apart(self, counters: Counters) -> None:
        counters.add([addition(1), addition(2, TWO), addition(4, ELSEWHERE)], now=T0)
        assert [total(counters, key) for key in (ONE, TWO, ELSEWHERE)] == [1, 2, 4]

    def test_amounts_of_one_call_for_one_counter_are_added_up(self, counters: Counters) -> None:
        assert not counters.add([addition(1), addition(2), addition(4, until=2 * HOUR)], now=T0)
        assert total(counters) == 7
        assert counters.add([addition(2, limit=9), addition(1, limit=9)], now=T0)
        assert total(counters) == 7

    def test_amount_does_not_count_from_its_expiry_on(self, counters: Counters) -> None:
        counters.add([addition(5)], now=T0)
        almost = T0 + HOUR - timedelta(microseconds=1)
        assert total(counters, now=almost) == 5
        assert total(counters, now=T0 + HOUR) == 0
        assert not counters.add([addition(9, until=2 * HOUR, limit=9)], now=T0 + HOUR)

    def test_limit_is_reached_and_not_exceeded(self, counters: Counters) -> None:
        assert not counters.add([addition(7, limit=10)], now=T0)
        too_much = addition(4, limit=10)
        assert list(counters.add([too_much], now=T0)) == [too_much]
        assert not counters.add([addition(3, until=2 * HOUR, limit=10)], now=T0)
        assert total(counters) == 10

    def test_all_are_added_or_none(self, counters: Counters) -> None:
        fits, too_much = addition(1, TWO, limit=5), addition(6, limit=5)
        unlimited = addition(1, ELSEWHERE)
        assert list(counters.add([fits, too_much, unlimited], now=T0)) == [too_much]
        assert [total(counters, key) for key in (ONE, TWO, ELSEWHERE)] == [0, 0, 0]

    def test_addition_without_a_limit_always_counts(self, counters: Counters) -> None:
        assert not counters.add([addition(ENORMOUS)], now=T0)
        assert not counters.add([addition(ENORMOUS)], now=T0)
        assert total(counters) == 2 * ENORMOUS
        assert counters.add([addition(1, limit=ENORMOUS)], now=T0)

    def test_reservation_is_replaced_by_what_was_used_whatever_the_limit(
        self, counters: Counters
    ) -> None:
        reserved = addition(100, until=timedelta(minutes=3), limit=100)
        assert not counters.add([reserved], now=T0)
        counters.settle([reserved], [addition(150)], now=T0)
        assert counters.read([ONE], now=T0)[ONE] == [Count(T0 + HOUR, 150)]

    def test_reservations_that_expire_together_are_settled_one_by_one(
        self, counters: Counters
    ) -> None:
        reserved = [addition(n, until=timedelta(minutes=3)) for n in (10, 20, 30)]
        for each in reserved:
            counters.add([each], now=T0)
        counters.settle([reserved[1]], [addition(1)], now=T0)
        assert total(counters) == 41
        counters.settle([reserved[0], reserved[2]], [], now=T0)
        assert total(counters) == 1

    def test_use_counts_in_full_even_if_more_was_reserved_than_is_held(
        self, counters: Counters
    ) -> None:
        counters.add([addition(5)], now=T0)
        counters.settle([addition(9)], [addition(2)], now=T0)
        assert total(counters) == 2

    def test_reservation_of_a_dead_process_expires_and_the_budget_stays(
        self, counters: Counters
    ) -> None:
        counters.add([addition(30)], now=T0)
        reserved = addition(70, until=timedelta(minutes=3), limit=100)
        assert not counters.add([reserved], now=T0)
        assert counters.add([addition(1, limit=100)], now=T0)
        later = T0 + timedelta(minutes=3)
        assert total(counters, now=later) == 30
        assert not counters.add([addition(70, limit=100)], now=later)
        counters.settle([reserved], [], now=later)
        assert total(counters, now=later) == 100, "what has expired is not subtracted from the rest"

    @pytest.mark.parametrize("name", ["", "Ana", "ñandú 😀", "../../x", "a'b\"; DROP", "x" * 300])
    def test_name_may_be_any_text(self, counters: Counters, name: str) -> None:
        key = CounterKey("tokens", name)
        counters.add([addition(3, key), addition(1)], now=T0)
        assert total(counters, key) == 3

    def test_erasing_removes_the_counters_with_this_part_of_every_kind(
        self, counters: Counters
    ) -> None:
        names = ("ana", "bea|ana", "day|ana|m|turns", "day|ana|m|tokens", "a[n]a*|ana|?")
        others = ("x|Ana|y", "x|an|a", "", "||", "day|anabel|m", "banana", "a[n]a*")
        keys = [CounterKey("usage", name) for name in names]
        kept = [CounterKey("usage", name) for name in others]
        elsewhere = CounterKey("budget", names[0])
        counters.add([addition(1, key) for key in (*keys, *kept, elsewhere)], now=T0)
        counters.add([addition(1, keys[0], until=2 * HOUR)], now=T0)
        assert counters.erase("ana") == {"usage": 5, "budget": 1}
        held = counters.read([*keys, *kept, elsewhere], now=T0)
        assert [key for key, counts in held.items() if counts] == kept
        assert counters.erase("ana") == {}
        assert counters.erase("a[n]a*") == {"usage": 1}

    @pytest.mark.parametrize("part", ["", "ana|m", "|"])
    def test_nothing_is_erased_for_what_cannot_be_a_part_of_a_name(
        self, counters: Counters, part: str
    ) -> None:
        keys = [CounterKey("usage", name) for name in ("2026|ana|m", "", "||")]
        counters.add([addition(1, key) for key in keys], now=T0)
        with pytest.raises(ValueError, match="part of a counter's name"):
            counters.erase(part)
        assert all(counters.read(keys, now=T0).values())
