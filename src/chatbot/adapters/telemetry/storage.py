"""A store whose transactions are reported, each as a span and in a histogram."""

import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Self, TypeVar

from chatbot.adapters.telemetry import names
from chatbot.adapters.telemetry.metrics import HistogramSeries, Metrics
from chatbot.adapters.telemetry.tracing import Attributes, Tracer
from chatbot.domain.chat import InterruptReason, Lease, Message, Question, SessionId, TurnContext
from chatbot.domain.identity import FamilyId, Owner, UserId
from chatbot.domain.memory import Memory
from chatbot.domain.ports.counters import Addition, Bill
from chatbot.domain.ports.storage import Found, Storage, StoredCaller
from chatbot.domain.transaction import Transaction

Done = TypeVar("Done")

COMPLETE = "complete"
STATES = (COMPLETE, *InterruptReason)


class TracedStorage(Storage):
    """Delegates to another store, and counts how turns end."""

    def __init__(self, storage: Storage, tracer: Tracer, metrics: Metrics) -> None:
        self._storage, self._tracer, self._metrics = storage, tracer, metrics
        self._operations: dict[str, tuple[Attributes, HistogramSeries]] = {}
        self._turns = {
            state: metrics.counter(names.TURNS, {names.STATE: state}) for state in STATES
        }

    async def __aenter__(self) -> Self:
        await self._storage.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._storage.__aexit__(*exc_info)

    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        return await self._reported("transact", self._storage.transact(work))

    async def find_caller(self, user_id: UserId, family_id: FamilyId | None = None) -> StoredCaller:
        return await self._reported("find_caller", self._storage.find_caller(user_id, family_id))

    async def store_question(self, question: Question) -> TurnContext:
        return await self._reported("store_question", self._storage.store_question(question))

    async def store_answer(self, lease: Lease, answer: Message, bill: Bill | None = None) -> None:
        await self._reported("store_answer", self._storage.store_answer(lease, answer, bill))
        self._turns[answer.reason or COMPLETE].add(1)

    async def store_memory(
        self,
        owner: Owner,
        session_id: SessionId,
        memory: Memory,
        *,
        epoch: int,
        bill: Bill | None = None,
    ) -> bool:
        stored = self._storage.store_memory(owner, session_id, memory, epoch=epoch, bill=bill)
        return await self._reported("store_memory", stored)

    async def add_counts(
        self, additions: Sequence[Addition], *, now: datetime
    ) -> Sequence[Addition]:
        return await self._reported("add_counts", self._storage.add_counts(additions, now=now))

    def renewing(self, lease: Lease) -> AbstractContextManager[None]:
        return self._storage.renewing(lease)

    def forget(self) -> None:
        self._storage.forget()

    async def check(self) -> None:
        await self._storage.check()

    async def inspect(self) -> Sequence[str]:
        return await self._storage.inspect()

    async def _reported(self, operation: str, transaction: Coroutine[Any, Any, Done]) -> Done:
        attributes, series = self._operation(operation)
        span = self._tracer.begin(names.SPAN_TRANSACTION)
        span.attributes = attributes
        began = time.perf_counter()
        try:
            with span:
                return await transaction
        finally:
            series.record(time.perf_counter() - began)

    def _operation(self, operation: str) -> tuple[Attributes, HistogramSeries]:
        """The attributes and the durations of a kind of transaction."""
        found = self._operations.get(operation)
        if found is None:
            labels = {names.STORAGE_OPERATION: operation}
            found = (labels, self._metrics.histogram(names.TRANSACTION_DURATION, labels))
            self._operations[operation] = found
        return found
