"""Acknowledged writes survive a power loss, whatever the disk kept of unsynced data."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest

from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files import storage as storage_module
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import SessionId
from repositories import here_and_now
from volatile_files import Loss, Tree, VolatileFiles, materialise
from write_script import (
    ONE,
    SCRIPT,
    History,
    Step,
    Writer,
    append,
    check,
    check_times,
    create,
    everything,
    turn,
)

ROOT = Path("/data")
SEED = 20260301


class Unsynced(Files):
    """Real files without fsync: writes after the simulated power loss need not survive."""

    def fsync(self, fd: int) -> None:
        pass

    def fsync_folder(self, folder: Path) -> None:
        pass


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "_THREADS", 1)


@dataclass(frozen=True)
class Left:
    """The tree after a power loss, and the possible histories at that moment."""

    tree: Tree
    histories: tuple[History, ...]
    moment: str


def losses(seed: int, at_random: int) -> Iterator[Loss]:
    """Losses that keep names without contents, contents without names, nothing, everything, or a mix.

    Of the three newest changes of names, all combinations.
    """
    rng = random.Random(seed)
    for names, sectors in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1.0, 1.0)):
        yield Loss(rng, names, sectors)
    for newest in product((True, False), repeat=3):
        yield Loss(rng, 0.5, 0.5, newest)
    for _ in range(at_random):
        yield Loss(rng, rng.random(), rng.random())


@dataclass
class Losses:
    """Collects the trees that a power loss at each moment could leave."""

    files: VolatileFiles
    writer: Writer
    at_random: int
    step: str = "open"
    moment: int = 0
    found: dict[object, Left] = field(default_factory=dict)

    def note(self) -> None:
        self.moment += 1
        histories = tuple(self.writer.histories)
        for loss in losses(SEED + self.moment, self.at_random):
            tree = self.files.after(loss)
            left = Left(tree, histories, f"{self.step}, change {self.moment}")
            self.found.setdefault((frozenset(tree.items()), histories), left)


async def losses_during(
    steps: Sequence[Step],
    files: VolatileFiles,
    histories: Sequence[History] = ((),),
    *,
    after: Sequence[Step] = (),
    at_random: int = 4,
) -> list[Left]:
    """Execute the steps; return the possible trees after a power loss at each change."""
    losses = Losses(files, Writer(histories), at_random)
    async with JsonFileStorage(ROOT, files) as storage:
        losses.writer.settle_on(everything(here_and_now(storage)))
        for step in after:
            assert await losses.writer.write(storage, step), step
        files.on_change = losses.note
        for step in steps:
            losses.step = step.name
            assert await losses.writer.write(storage, step), step
        files.on_change = lambda: None
    return list(losses.found.values())


def deleted_in(histories: Sequence[History]) -> set[SessionId | None]:
    """The sessions with an acknowledged deletion."""
    return {step.session_id for step, _ in histories[0] if step.name == "delete"}


def left_of(gone: set[SessionId | None], root: Path) -> list[Path]:
    """Files with content of these sessions, whose deletion must be complete."""
    found = (path for path in root.rglob("*") if path.name.partition(".")[0] in gone)
    return [path for path in found if path.suffix != ".lock"]


async def expect_all(found: Sequence[Left], folder: Path, *, timed: bool = True) -> None:
    """Check each tree on the real file system: it holds everything acknowledged."""
    assert found
    for number, left in enumerate(found):
        root = folder / str(number)
        materialise(left.tree, root)
        try:
            async with JsonFileStorage(root / "data", Unsynced()) as storage:
                possible = Writer(left.histories).possible
                if timed:
                    check_times(storage, possible)
                await check(storage, possible)
                assert not left_of(deleted_in(left.histories), root)
        except Exception as error:
            raise AssertionError(f"after a loss of power in {left.moment}: {root}") from error


async def test_every_acknowledged_write_survives_a_loss_of_power_at_any_moment(
    tmp_path: Path,
) -> None:
    await expect_all(await losses_during(SCRIPT, VolatileFiles()), tmp_path)


@pytest.mark.parametrize("length", range(16, 512, 62))
async def test_torn_write_is_recovered_at_every_sector_boundary(
    tmp_path: Path, length: int
) -> None:
    begin = (create(ONE, 1), append(ONE, 2, "x" * length))
    steps = turn(ONE, 3, "after a crash", "yes")
    found = await losses_during(steps, VolatileFiles(), after=begin, at_random=20)
    await expect_all(found, tmp_path)


async def test_power_loss_in_the_write_after_a_torn_one_is_recovered(tmp_path: Path) -> None:
    first = [append(ONE, 2, "x" * 600)]
    found: list[Left] = []
    for torn in await losses_during(first, VolatileFiles(), after=[create(ONE, 1)]):
        files = VolatileFiles.holding(torn.tree)
        steps = turn(ONE, 3, "after a crash " * 70, "yes")
        found += await losses_during(steps, files, torn.histories, at_random=6)
    await expect_all(found, tmp_path, timed=False)
