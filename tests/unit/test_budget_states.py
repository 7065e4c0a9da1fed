"""Budgets under any order of parallel turns, cuts, failures and deaths of processes, at the use cases.

In CI it draws the same each time. `CHATBOT_TEST_EXAMPLES=2000` looks for more.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.budgets import Budgets
from chatbot.domain.chat import FinishReason
from chatbot.domain.errors import BudgetExhausted, ChatbotError, ModelTimeout, StorageUnavailable
from chatbot.domain.identity import Principal
from chatbot.domain.limits import Limit, LimitKind, Subject
from chatbot.domain.ports.model import Completion, ModelRequest, Usage
from chatbot.domain.ports.storage import Found
from chatbot.domain.quotas import Period
from chatbot.domain.transaction import Transaction
from conversation import ANA, BEN, NO_MEMORY, START, ChatApp

EXAMPLES = os.environ.get("CHATBOT_TEST_EXAMPLES")
LIMIT, ERROR = 5000, 200
RESERVED_FOR = timedelta(minutes=5)


class MortalStorage(InMemoryStorage):
    """A store that a process can no longer reach once it is dead; the data is shared."""

    def __init__(self, shared: InMemoryStorage) -> None:
        super().__init__()
        self._transaction = shared._transaction
        self.is_dead = False

    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        if self.is_dead:
            raise StorageUnavailable("The process is dead.")
        return await super().transact(work)


class HeldModel(ScriptedModel):
    """Each call waits for its answer."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked: list[tuple[ModelRequest, asyncio.Future[Completion]]] = []

    async def complete(self, request: ModelRequest) -> Completion:
        answer: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self.asked.append((request, answer))
        return await answer


@dataclass(eq=False)
class Process:
    """A process and its turns."""

    app: ChatApp
    storage: MortalStorage
    model: HeldModel
    turns: list[asyncio.Task[object]] = field(default_factory=list)


class Company(RuleBasedStateMachine):
    """Three processes on one store, with one budget for each of two callers and one for both."""

    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.shared = InMemoryStorage()
        self.processes = [self._process() for _ in range(3)]
        self.overrun = self.refused = 0
        """By how much answers have used more than was estimated; turns that were refused."""
        self._run(self.shared.transact(_put_limits))

    def _process(self) -> Process:
        storage, model = MortalStorage(self.shared), HeldModel()
        app = ChatApp(model, rules=NO_MEMORY, storage=storage)
        app.chat._budgets = Budgets(
            storage,
            app.limit_rules,
            None,
            model=model.name,
            zone=UTC,
            clock=self._clock,
            reserved_for=RESERVED_FOR,
        )
        return Process(app, storage, model)

    def _clock(self) -> datetime:
        return self.now

    def _run(self, work: object) -> object:
        return self.runner.run(work)  # type: ignore[arg-type] # any coroutine

    def _settled(self) -> None:
        """Let the tasks go on until each of them waits for the model."""

        async def pause() -> None:
            for _ in range(60):
                await asyncio.sleep(0)

        self._run(pause())

    @rule(number=st.integers(0, 2), who=st.sampled_from([ANA, BEN]), turns=st.integers(1, 4))
    def ask(self, number: int, who: Principal, turns: int) -> None:
        process = self.processes[number]

        async def begin() -> None:
            for _ in range(turns):
                asking = asyncio.create_task(process.app.ask("hello", who=who, stream=False))
                asking.add_done_callback(lambda turn: turn.cancelled() or turn.exception())
                process.turns.append(asking)

        self._run(begin())
        self._settled()
        self._note_refusals(process)

    def _note_refusals(self, process: Process) -> None:
        for turn in [each for each in process.turns if each.done()]:
            process.turns.remove(turn)
            with suppress(asyncio.CancelledError):
                error = turn.exception()
                assert error is None or isinstance(error, ChatbotError), error
                self.refused += isinstance(error, BudgetExhausted)

    @rule(
        number=st.integers(0, 2),
        share=st.sampled_from([0.1, 0.5, 1.0]),
        error=st.sampled_from([0, 0, 0, ERROR]),
    )
    def answer(self, number: int, share: float, error: int) -> None:
        """A model call ends; it may have used a little more than was estimated."""
        process = self.processes[number]
        if not process.model.asked:
            return
        request, answer = process.model.asked.pop(0)
        given = process.app.prompt_builder.estimator.tokens(*request.texts)
        made = round(share * request.max_output_tokens)
        usage = Usage(input_tokens=given + error, output_tokens=made)
        self.overrun += error
        if not answer.done():
            answer.set_result(Completion(text="ok", finish_reason=FinishReason.STOP, usage=usage))
        self._settled()
        self._note_refusals(process)

    @rule(number=st.integers(0, 2))
    def fail(self, number: int) -> None:
        process = self.processes[number]
        if process.model.asked:
            _, answer = process.model.asked.pop(0)
            if not answer.done():
                answer.set_exception(ModelTimeout())
        self._settled()
        self._note_refusals(process)

    @rule(number=st.integers(0, 2))
    def cut(self, number: int) -> None:
        """A client disconnects."""
        process = self.processes[number]
        if process.turns:
            process.turns[0].cancel()
        self._settled()
        self._note_refusals(process)

    @rule(number=st.integers(0, 2))
    def kill(self, number: int) -> None:
        """A process dies: what it does from now on reaches nobody. Another one takes its place."""
        dead = self.processes[number]
        dead.storage.is_dead = True
        for turn in dead.turns:
            turn.cancel()
        self._settled()
        self.processes[number] = self._process()

    @rule(seconds=st.sampled_from([1, 100, 400, 86_400 * 20]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def no_budget_is_overspent(self) -> None:
        def read(tx: Transaction) -> dict[str, int]:
            return dict(tx.counters.scan("budget", "", now=self.now))

        for name, amount in self._run(self.shared.transact(read)).items():  # type: ignore[attr-defined] # a dict
            assert amount <= LIMIT + self.overrun, name

    def teardown(self) -> None:
        for process in self.processes:
            for _, answer in process.model.asked:
                if not answer.done():
                    answer.set_exception(ModelTimeout())
        self._settled()
        self.no_budget_is_overspent()


def _put_limits(tx: Transaction) -> None:
    for name, subject in (("each", Subject.EVERYONE), ("all", Subject.CLIENT)):
        limit = Limit(
            id=name,
            subject=subject,
            name="" if subject is Subject.EVERYONE else "ana",
            kind=LimitKind.TOKENS,
            per=Period.MONTH,
            limit=LIMIT,
        )
        tx.limits.put(limit, old=None)


def test_no_order_of_events_overspends_a_budget_by_more_than_the_errors_of_estimates() -> None:
    with asyncio.Runner() as Company.runner:
        run_state_machine_as_test(
            Company,
            settings=settings(
                max_examples=int(EXAMPLES or 40),
                stateful_step_count=25,
                deadline=None,
                derandomize=EXAMPLES is None,
                suppress_health_check=[*HealthCheck],
            ),
        )
