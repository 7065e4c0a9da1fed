"""Budgets under parallel turns, cuts and kills, in every store and in Redis.

In CI it draws the same each time. `CHATBOT_TEST_EXAMPLES=2000` looks for more.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from chatbot.domain.ports.counters import Addition, CounterKey
from chatbot.domain.ports.limit_counters import LimitCounters, Settlement
from counter_contract import OpenLimits
from samples import T0

EXAMPLES = os.environ.get("CHATBOT_TEST_EXAMPLES")
LIMITS = {"ana": 300, "bea": 300, "everyone": 400}
TIME_OUT, WINDOW = timedelta(minutes=3), timedelta(hours=1)
ERROR = 20
"""By how much a turn may use more than was estimated for it."""
_examples = count()

people = st.sampled_from(["ana", "bea"])
turns = st.tuples(people, st.integers(1, 250))
shares = st.sampled_from([0.0, 0.3, 0.9, 1.0])
"""Of the most that a turn may use. What is drawn does not depend on which turns were let in: of many
at once that is the engine's choice, and may differ when the steps are repeated."""


@dataclass(frozen=True, eq=False)
class Turn:
    """A turn in progress, and what is reserved for it in two budgets."""

    number: int
    estimate: int
    reserved: Sequence[Addition]

    def share(self, share: float) -> int:
        return round(share * (self.estimate + ERROR))


class Budgets(RuleBasedStateMachine):
    """The counters beside a model of them, which is exact."""

    runner: asyncio.Runner
    counters: LimitCounters

    def __init__(self) -> None:
        super().__init__()
        self.now, self.example, self.numbers = T0, next(_examples), count()
        self.model = Counter[tuple[CounterKey, datetime]]()
        self.running: list[Turn] = []
        self.errors = Counter[CounterKey]()

    def key(self, name: str) -> CounterKey:
        return CounterKey("budget", f"{self.example}|{name}")

    def held(self, key: CounterKey) -> int:
        return sum(n for (each, at), n in self.model.items() if each == key and at > self.now)

    @property
    def window_ends(self) -> datetime:
        return T0 + WINDOW * ((self.now - T0) // WINDOW + 1)

    def turn(self, person: str, estimate: int) -> Turn:
        reserved = [
            Addition(
                key=self.key(name),
                amount=estimate,
                expires_at=self.now + TIME_OUT,
                limit=LIMITS[name],
            )
            for name in (person, "everyone")
        ]
        return Turn(next(self.numbers), estimate, reserved)

    @rule(wanted=st.lists(turns, min_size=1, max_size=6), ending=st.lists(shares, max_size=2))
    def begin(self, wanted: Sequence[tuple[str, int]], ending: Sequence[float]) -> None:
        """Reserve for several turns at once, while others end."""
        begun = [self.turn(*each) for each in wanted]
        ended = self.running[: len(ending)]
        uses = [turn.share(share) for turn, share in zip(ended, ending, strict=False)]

        async def at_once() -> Sequence[Sequence[Addition]]:
            settled = asyncio.gather(*map(self.settle, ended, uses))
            adding = (self.counters.add(turn.reserved, now=self.now) for turn in begun)
            answers = await asyncio.gather(*adding)
            await settled
            return answers

        answers = self.runner.run(at_once())
        for turn, used in zip(ended, uses, strict=True):
            self.note_end(turn, used)
        accepted = [turn for turn, refusal in zip(begun, answers, strict=True) if not refusal]
        for turn in accepted:
            self.note_begin(turn, had_company=bool(ended))
        if not ended:
            for refusal in answers:
                for each in refusal:
                    assert each.limit is not None
                    assert self.held(each.key) + each.amount > each.limit, "it would have fitted"

    @rule(which=st.integers(0, 9), share=shares, tries=st.integers(1, 3))
    def end(self, which: int, share: float, tries: int) -> None:
        """A turn ends or is cut; if the answer is lost, it is settled again."""
        if self.running:
            turn = self.running[which % len(self.running)]
            used = turn.share(share)
            for _ in range(tries):
                self.runner.run(self.settle(turn, used))
            self.note_end(turn, used)

    @rule(survivors=st.integers(0, 2))
    def kill(self, survivors: int) -> None:
        """The process of some turns dies: their reservations stay until they expire."""
        self.running = self.running[:survivors]

    @rule(seconds=st.integers(1, 240), share=shares)
    def wait(self, seconds: int, share: float) -> None:
        """The time-out ends each turn before its reservation ends."""
        later = self.now + timedelta(seconds=seconds)
        for turn in [turn for turn in self.running if turn.reserved[0].expires_at <= later]:
            used = turn.share(share)
            self.runner.run(self.settle(turn, used))
            self.note_end(turn, used)
        self.now = later

    async def settle(self, turn: Turn, used: int) -> None:
        settlement = Settlement(
            id=f"{self.example} {turn.number}", reserved=turn.reserved, used=self.used(turn, used)
        )
        await self.counters.settle(settlement, now=self.now)

    def used(self, turn: Turn, used: int) -> list[Addition]:
        return [
            Addition(key=each.key, amount=used, expires_at=self.window_ends)
            for each in turn.reserved
            if used
        ]

    def note_begin(self, turn: Turn, *, had_company: bool) -> None:
        self.running.append(turn)
        for each in turn.reserved:
            self.model[each.key, each.expires_at] += each.amount
            if not had_company:
                self.errors[each.key] = 0

    def note_end(self, turn: Turn, used: int) -> None:
        self.running.remove(turn)
        for each in turn.reserved:
            self.model[each.key, each.expires_at] -= each.amount
            self.errors[each.key] += max(0, used - turn.estimate)
        for each in self.used(turn, used):
            self.model[each.key, each.expires_at] += each.amount

    @invariant()
    def counters_are_as_the_model(self) -> None:
        keys = {self.key(name): limit for name, limit in LIMITS.items()}
        found = self.runner.run(self.counters.read([*keys], now=self.now))
        for key in keys:
            live = {at: n for (each, at), n in self.model.items() if each == key and n}
            expected = {at: n for at, n in live.items() if at > self.now}
            assert {each.expires_at: each.amount for each in found[key]} == expected

    @invariant()
    def budget_is_exceeded_by_estimate_errors_at_most(self) -> None:
        """By those of the turns that have ended since one was last let in: of one, if alone."""
        for name, limit in LIMITS.items():
            key = self.key(name)
            assert self.held(key) <= limit + self.errors[key]


@pytest.mark.parametrize("engine", ["in_memory", "json_files", "sqlite", "postgres", "redis"])
def test_budget_is_never_exceeded_by_more_than_estimate_errors(
    engine: str, open_limits: OpenLimits
) -> None:
    with asyncio.Runner() as runner:
        opened = open_limits(engine)
        counters = runner.run(opened.__aenter__())
        machine: Any = type("BudgetsHere", (Budgets,), {"runner": runner, "counters": counters})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=int(EXAMPLES or 20),
                stateful_step_count=25,
                derandomize=EXAMPLES is None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        runner.run(opened.__aexit__(None, None, None))
