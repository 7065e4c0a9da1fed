"""Whichever file operation fails, acknowledged writes survive and the store stays usable."""

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from chatbot.adapters.storage.json_files import storage as storage_module
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.errors import StorageFailure
from faulty_files import Fault, FaultyFiles
from volatile_files import Loss, Tree, VolatileFiles
from write_script import ONE, SCRIPT, TWO, History, Step, Writer, check, put_memory, turn

ROOT = Path("/data")
SEED = 20260301
AFTERWARDS = (
    *turn(ONE, 60, "is it there", "it is"),
    *turn(TWO, 62, "and two", "it is"),
    put_memory(ONE, "afterwards"),
)
"""What the same process does after the fault."""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "_THREADS", 1)


def units() -> Iterator[tuple[History, tuple[Step, ...]]]:
    """The script in parts that end without a lease, each with its preceding history."""
    begin = 0
    for end, step in enumerate(SCRIPT, 1):
        if not step.holds:
            yield tuple((done, len(done.parts)) for done in SCRIPT[:begin]), SCRIPT[begin:end]
            begin = end


async def tree_after(history: History) -> Tree:
    files, writer = VolatileFiles(), Writer()
    async with JsonFileStorage(ROOT, files) as storage:
        for step, _ in history:
            assert await writer.write(storage, step)
    return files.tree()


def may_fail(step: str, fault: Fault) -> bool:
    return step == "write" or fault not in {Fault.LIE, Fault.SHORT_LIE}


@dataclass
class Run:
    """Steps of the script on failing files; `names` are the file operations."""

    files: FaultyFiles
    writer: Writer
    begin: int = 0
    end: int = 0

    @property
    def names(self) -> list[tuple[int, str]]:
        """The operations that may fail, including opening the store at the start of the script."""
        return list(enumerate(self.files.steps))[self.begin : self.end]


async def survives(
    tree: Tree, history: History, unit: Sequence[Step], faults: dict[int, Fault]
) -> Run:
    """Execute the steps with these faults, then check the store."""
    files = FaultyFiles.holding(tree)
    run = Run(files, Writer([history]))
    files.faults, files.steps = faults, []
    with suppress(StorageFailure):  # it does not open, or a lock file does not close
        async with JsonFileStorage(ROOT, files) as storage:
            run.begin = len(files.steps) if history else 0
            for step in unit:
                await run.writer.write(storage, step)
            run.end = len(files.steps)
            for step in AFTERWARDS:
                await run.writer.write(storage, step)
    files.faults = {}
    assert files.open_count == 0
    after_power_loss = files.after(Loss(random.Random(0), 0, 0))
    for left in (files, VolatileFiles.holding(after_power_loss)):
        async with JsonFileStorage(ROOT, left) as storage:
            await check(storage, run.writer.possible)
    return run


UNITS = list(units())
NAMES = [f"{n}-{unit[0].name}".replace(" ", "-") for n, (_, unit) in enumerate(UNITS)]


async def survives_all(
    history: History, unit: Sequence[Step], faults: Iterable[dict[int, Fault]]
) -> None:
    tree = await tree_after(history)
    for chosen in faults:
        try:
            await survives(tree, history, unit, chosen)
        except Exception as error:
            raise AssertionError(f"after {chosen}") from error


async def steps_of(history: History, unit: Sequence[Step]) -> list[tuple[int, str]]:
    return (await survives(await tree_after(history), history, unit, {})).names


@pytest.mark.parametrize(("history", "unit"), UNITS, ids=NAMES)
async def test_any_step_may_fail_in_any_way(history: History, unit: tuple[Step, ...]) -> None:
    steps = await steps_of(history, unit)
    faults = ({n: fault} for n, name in steps for fault in Fault if may_fail(name, fault))
    await survives_all(history, unit, faults)


@pytest.mark.parametrize(("history", "unit"), UNITS, ids=NAMES)
async def test_any_two_steps_may_fail(history: History, unit: tuple[Step, ...]) -> None:
    """The second fault mostly hits the handling of the first."""
    steps, rng = await steps_of(history, unit), random.Random(SEED)

    def pairs() -> Iterator[dict[int, Fault]]:
        for number, _ in steps:
            for second in (*range(number + 1, number + 4), rng.randrange(number + 4, number + 50)):
                yield {number: rng.choice(list(Fault)), second: rng.choice(list(Fault))}

    await survives_all(history, unit, pairs())
