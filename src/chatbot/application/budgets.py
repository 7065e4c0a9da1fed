"""Token budgets: reserved before the model is called, and settled with the tokens that were used.

A reservation that is never settled, because its process died, expires. Tokens that are used without a
matching limit are counted as usage only.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from typing import Protocol

from chatbot.application.limit_counters import LimitChecks
from chatbot.application.limit_rules import LimitRules
from chatbot.application.metering import current_payer, metered_by
from chatbot.domain.errors import BudgetExhausted, RateLimited, StorageFailure
from chatbot.domain.limits import Charge, LimitKind, charges
from chatbot.domain.ports.counters import Addition, Bill
from chatbot.domain.ports.model import Usage
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.storage import Storage
from chatbot.domain.quotas import Period, window_of
from chatbot.domain.usage import Payer, Used, usage_additions

_OF_TURNS = frozenset({LimitKind.TOKENS, LimitKind.STREAMS})
_OF_MEMORY = frozenset({LimitKind.TOKENS})
_RETRY_AFTER_S = 2.0

Reserve = Callable[["Meter", int], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Meter:
    """The tokens that are reserved for the model calls of one task, and those that they used.

    With `may_exceed`, the next request is made even if it needs more than the reservation and no
    more can be reserved, because the question is already stored.
    """

    payer: Payer
    charges: Sequence[Charge]
    reserve: Reserve
    may_exceed: bool = False
    reserved: list[Addition] = field(default_factory=list)
    used: Used = field(default_factory=Used)
    last_tokens: int = 0
    room: int = 0

    def note_reserved(self, additions: Sequence[Addition], tokens: int) -> None:
        """Add to the reserved tokens."""
        self.reserved.extend(additions)
        self.room += tokens

    async def before(self, tokens: int) -> None:
        may_exceed, self.may_exceed = self.may_exceed, False
        if not self.charges or tokens <= self.room:
            return
        try:
            await self.reserve(self, tokens - self.room)
        except (BudgetExhausted, StorageFailure):
            if not may_exceed:
                raise

    def add(self, usage: Usage) -> None:
        self.used = self.used.with_request(usage)
        self.last_tokens = usage.input_tokens + usage.output_tokens
        self.room -= self.last_tokens


class Estimate(Protocol):
    """How many tokens a turn will use, its answer included."""

    def quick(self) -> int:
        """Return a high estimate from what is already known."""

    async def exact(self) -> int | None:
        """Return an estimate that requires reading the session; None if the quick one is as good."""


class Budgets:
    """Reserves and settles tokens, and counts usage.

    Args:
        checks: where tokens are counted if not in the store.
        model: the name of the model.
        zone: the time zone of days and months.
        reserved_for: the lifetime of a reservation that is not settled; longer than any turn.
    """

    def __init__(
        self,
        storage: Storage,
        rules: LimitRules,
        checks: LimitChecks | None,
        *,
        model: str,
        zone: tzinfo,
        clock: Clock,
        reserved_for: timedelta,
    ) -> None:
        self._storage, self._rules, self._checks = storage, rules, checks
        self._model, self._zone, self._clock = model, zone, clock
        self._reserved_for = reserved_for

    async def begin(self, payer: Payer, estimate: Estimate) -> Meter:
        """Reserve what a turn will use, and return its meter; pass that to `bill` or `release`.

        Raises:
            BudgetExhausted: a token budget is too small.
            RateLimited: there are too many answers at the same time.
            StorageUnavailable: budgets cannot be checked.
        """
        meter = await self._meter(payer, _OF_TURNS, may_exceed=True)
        if not meter.charges:
            return meter
        exceeded = await self._try(meter, meter.charges, estimate.quick())
        if exceeded and all(each.limit.kind is LimitKind.TOKENS for each in exceeded):
            exact = await estimate.exact()
            if exact is not None:
                exceeded = await self._try(meter, meter.charges, exact)
        self._refuse(exceeded)
        return meter

    @asynccontextmanager
    async def background(self) -> AsyncGenerator[Meter | None]:
        """Meter the calls to the model in the block, which are billed at its end if not before."""
        payer = current_payer()
        if payer is None:
            yield None
            return
        meter = await self._meter(payer, _OF_MEMORY)
        try:
            with metered_by(meter):
                yield meter
        finally:
            bill = await self.bill(meter)
            if bill is not None:
                await self._storage.transact(lambda tx: tx.settle(bill))

    async def bill(self, meter: Meter, *, turns: int = 0) -> Bill | None:
        """Return what the store has to settle for what was used since the last bill, if anything."""
        used, reserved = meter.used + Used(turns=turns), tuple(meter.reserved)
        meter.used, meter.reserved, meter.room = Used(), [], 0
        counted = [each for charge in meter.charges for each in charge.used(used.tokens)]
        now = self._clock()
        if self._checks is not None and (reserved or counted):
            await self._checks.settle(reserved, counted, now=now)
            reserved, counted = (), []
        day = window_of(Period.DAY, now, self._zone)
        usage = usage_additions(day, meter.payer, self._model, used)
        if not (reserved or counted or usage):
            return None
        return Bill(reserved=reserved, used=(*counted, *usage), at=now)

    async def release(self, meter: Meter) -> None:
        """Release the reservation of a turn that did not begin."""
        bill = await self.bill(meter)
        if bill is not None:
            await self._storage.transact(lambda tx: tx.settle(bill))

    async def _meter(
        self, payer: Payer, kinds: frozenset[LimitKind], *, may_exceed: bool = False
    ) -> Meter:
        limits = await self._rules.current()
        found = charges(limits, kinds, payer, model=self._model, now=self._clock(), zone=self._zone)
        return Meter(payer=payer, charges=found, reserve=self._reserve_more, may_exceed=may_exceed)

    async def _reserve_more(self, meter: Meter, tokens: int) -> None:
        budgets = [each for each in meter.charges if each.limit.kind is LimitKind.TOKENS]
        self._refuse(await self._try(meter, budgets, tokens))

    async def _try(self, meter: Meter, wanted: Sequence[Charge], tokens: int) -> Sequence[Charge]:
        """Reserve, or return what would be exceeded."""
        now = self._clock()
        additions = [each.reserved(tokens, now + self._reserved_for) for each in wanted]
        if not additions:
            return ()
        if self._checks is not None:
            exceeding = await self._checks.reserve(additions, now=now)
        else:
            exceeding = await self._storage.add_counts(additions, now=now)
        if not exceeding:
            meter.note_reserved(additions, tokens)
        keys = {each.key for each in exceeding}
        return [each for each in wanted if each.key in keys]

    def _refuse(self, exceeded: Sequence[Charge]) -> None:
        if not exceeded:
            return
        now = self._clock()
        quotas = [each.quota(now) for each in exceeded]
        waits = [each.reset_s for each in quotas if each.reset_s is not None]
        if waits:
            names = ", ".join(each.name for each in quotas if each.reset_s is not None)
            raise BudgetExhausted(
                f"The token budget is used up: {names}.", retry_after_s=max(waits), quotas=quotas
            )
        raise RateLimited(
            "Too many answers are in progress: wait for one of them to finish.",
            retry_after_s=_RETRY_AFTER_S,
            quotas=quotas,
        )
