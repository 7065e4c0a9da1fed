"""Hypothesis writes, breaks, kills and cuts the power, in any order, and compares with a model.

In CI it draws the same each time, for some 10 seconds. `CHATBOT_TEST_EXAMPLES=5000` looks for
more, each time for something else.
"""

import asyncio
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chatbot.adapters.storage.json_files import storage as storage_module
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import SessionId
from faulty_files import Fault, FaultyFiles
from repositories import here_and_now
from volatile_files import Loss
from write_script import (
    ONE,
    TWO,
    Step,
    Writer,
    append,
    check,
    create,
    delete,
    everything,
    put_memory,
    reset,
    retitle,
    trim,
    turn,
)

ROOT = Path("/data")
EXAMPLES = os.environ.get("CHATBOT_TEST_EXAMPLES")
MOST_HISTORIES = 8

sessions = st.sampled_from([ONE, TWO])
changes = st.sampled_from(
    ["write", "fsync", "fsync_folder", "replace", "remove", "truncate", "set_mtime", "close"]
)
texts = st.sampled_from(["short", "ñ" * 130, "a sector " * 60, "sectors " * 200])


class Store(RuleBasedStateMachine):
    """A store on files that fail and lose data, and its possible states."""

    def __init__(self) -> None:
        super().__init__()
        self.runner, self.writer = asyncio.Runner(), Writer()
        self.files, self.seconds = FaultyFiles(has_journal=True), 0
        self.storage = self.opened()

    def opened(self) -> JsonFileStorage:
        self.files.next_faults = []
        storage = JsonFileStorage(ROOT, self.files)
        self.runner.run(storage.__aenter__())
        return storage

    def write(self, *steps: Step) -> None:
        for step in steps:
            self.runner.run(self.writer.write(self.storage, step))

    def later(self) -> int:
        self.seconds += 2
        return self.seconds

    @rule(session_id=sessions)
    def create(self, session_id: SessionId) -> None:
        self.write(create(session_id, self.later()))

    @rule(session_id=sessions, asked=texts, answered=texts)
    def turn(self, session_id: SessionId, asked: str, answered: str) -> None:
        self.write(*turn(session_id, self.later(), asked, answered))

    @rule(session_id=sessions, text=texts)
    def append(self, session_id: SessionId, text: str) -> None:
        self.write(append(session_id, self.later(), text))

    @rule(session_id=sessions, summary=texts)
    def remember(self, session_id: SessionId, summary: str) -> None:
        self.write(put_memory(session_id, summary))

    @rule(session_id=sessions, title=texts)
    def retitle(self, session_id: SessionId, title: str) -> None:
        self.write(retitle(session_id, title))

    @rule(session_id=sessions, upto=st.integers(1, 9))
    def trim(self, session_id: SessionId, upto: int) -> None:
        self.write(trim(session_id, upto))

    @rule(session_id=sessions)
    def reset(self, session_id: SessionId) -> None:
        self.write(reset(session_id, self.later()))

    @rule(session_id=sessions)
    def delete(self, session_id: SessionId) -> None:
        self.write(delete(session_id))

    @precondition(lambda self: len(self.writer.histories) < MOST_HISTORIES)
    @rule(faults=st.lists(st.tuples(changes, st.sampled_from(Fault)), min_size=1, max_size=3))
    def fail_soon(self, faults: list[tuple[str, Fault]]) -> None:
        self.files.next_faults = faults.copy()

    @rule()
    def reopen(self) -> None:
        self.close()
        self.storage = self.opened()

    @rule(session_id=sessions, asked=texts)
    def die_in_a_turn(self, session_id: SessionId, asked: str) -> None:
        self.write(turn(session_id, self.later(), asked, "")[0])
        self.die()
        self.storage = self.opened()

    @rule(session_id=sessions, asked=texts, seed=st.integers(0, 99), names=st.floats(0, 1))
    def lose_power_in_a_turn(
        self, session_id: SessionId, asked: str, seed: int, names: float
    ) -> None:
        self.write(turn(session_id, self.later(), asked, "")[0])
        self.lose_power(seed, names)

    @rule(seed=st.integers(0, 99), names=st.floats(0, 1))
    def lose_power(self, seed: int, names: float) -> None:
        self.die()
        left = self.files.after(Loss(random.Random(seed), names, names))
        self.files = FaultyFiles.holding(left, has_journal=True)
        self.storage = self.opened()
        self.writer.settle_on(everything(here_and_now(self.storage)))

    def die(self) -> None:
        self.files.forget_process()
        self.runner.run(self.storage._end_threads())
        self.writer = Writer(self.writer.histories)

    def close(self) -> None:
        self.files.next_faults = []
        self.runner.run(self.storage.__aexit__(None, None, None))
        assert self.files.open_count == 0

    @invariant()
    def holds_what_was_acknowledged(self) -> None:
        faults, self.files.next_faults = self.files.next_faults, []
        assert everything(here_and_now(self.storage)) in self.writer.possible
        self.files.next_faults = faults

    def teardown(self) -> None:
        self.files.next_faults = []
        self.runner.run(check(self.storage, self.writer.possible))
        self.close()
        self.runner.close()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "_THREADS", 1)


def test_store_is_as_the_model_whatever_happens_to_it() -> None:
    run_state_machine_as_test(
        Store,
        settings=settings(
            max_examples=int(EXAMPLES or 150),
            stateful_step_count=30,
            derandomize=EXAMPLES is None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
