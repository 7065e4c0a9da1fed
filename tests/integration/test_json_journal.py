"""The files of journals: acknowledged entries survive any failure, and damage is reported."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import json
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chatbot.adapters.filesystem.atomic import make_durable_folders
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.check import Problem
from chatbot.adapters.storage.json_files.export import JsonFileExport
from chatbot.adapters.storage.json_files.journal import JsonJournal
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.audit import AUDIT
from chatbot.domain.errors import StorageFailure, StorageUnavailable
from chatbot.domain.permissions import Role
from chatbot.domain.ports.export import Unreadable
from chatbot.domain.ports.journal import Content, JournalEntry
from faulty_files import Fault, FaultyFiles
from volatile_files import Loss, Tree, VolatileFiles

T0 = datetime(2026, 3, 30, 12, tzinfo=UTC)
DATA = Path("/data")
SEED = 20260301
APPENDS = 4
"""In two months; the entries are longer than a sector."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def march(root: Path) -> Path:
    return root / AUDIT.name / "2026-03.jsonl"


def content(number: int) -> Content:
    return {"number": number, "text": "ñ" * 400}


def fill(journal: JsonJournal, count: int, *, at: datetime = T0) -> list[JournalEntry]:
    return [
        journal.append(AUDIT, lambda last: content(1 if last is None else last.seq + 1), at=at)
        for _ in range(count)
    ]


def numbers(journal: JsonJournal) -> list[object]:
    return [entry.content["number"] for entry in journal.read(AUDIT, limit=99)]


async def test_journal_without_entries_has_no_files(root: Path) -> None:
    async with JsonFileStorage(root / "data") as storage:
        assert await storage.transact(lambda tx: tx.journal.last(AUDIT)) is None
        assert await storage.transact(lambda tx: list(tx.journal.read(AUDIT, limit=9))) == []
        assert await storage.findings() == []
    assert not (root / "data" / AUDIT.name).exists()


def test_files_are_one_for_each_month_and_can_be_read_line_by_line(root: Path) -> None:
    journal = JsonJournal(root, Files())
    fill(journal, 2)
    fill(journal, 2, at=T0 + timedelta(days=3))
    fill(journal, 1, at=T0)  # by a clock that was set back
    found = {
        path.name: [
            json.loads(line)["content"]["number"]
            for line in path.read_text("utf-8").split("\n")[:-1]
        ]
        for path in (root / AUDIT.name).glob("*.jsonl")
    }
    assert found == {"2026-03.jsonl": [1, 2], "2026-04.jsonl": [3, 4, 5]}


def test_torn_write_is_truncated_and_quarantined_wherever_it_ends(root: Path, march: Path) -> None:
    journal = JsonJournal(root, Files())
    fill(journal, 2)
    two = march.read_bytes()
    fill(journal, 1)
    three = march.read_bytes()
    for end in range(len(two) + 1, len(three) - 1):
        march.write_bytes(three[:end])
        assert numbers(journal) == [1, 2]
        assert [entry.seq for entry in fill(journal, 1)] == [3]
        assert march.read_bytes() == three
        [torn] = (root / AUDIT.name / ".work").iterdir()
        assert torn.read_bytes() == three[len(two) : end]
        torn.unlink()


def test_entry_that_lacks_only_its_newline_counts(root: Path, march: Path) -> None:
    journal = JsonJournal(root, Files())
    fill(journal, 2)
    march.write_bytes(march.read_bytes()[:-1])
    assert numbers(journal) == [1, 2]
    fill(journal, 1)
    assert numbers(journal) == [1, 2, 3]
    assert not (root / AUDIT.name / ".work").exists()


def test_first_entry_that_is_torn_leaves_an_empty_journal(root: Path, march: Path) -> None:
    journal = JsonJournal(root, Files())
    fill(journal, 1)
    march.write_bytes(march.read_bytes()[:99])
    assert journal.last(AUDIT) is None
    assert [entry.seq for entry in fill(journal, 2)] == [1, 2]


def test_new_month_whose_first_entry_is_torn_is_numbered_on(root: Path) -> None:
    journal = JsonJournal(root, Files())
    fill(journal, 2)
    later = T0 + timedelta(days=3)
    fill(journal, 1, at=later)
    april = root / AUDIT.name / "2026-04.jsonl"
    april.write_bytes(april.read_bytes()[:99])
    assert numbers(journal) == [1, 2]
    assert [entry.seq for entry in fill(journal, 2, at=later)] == [3, 4]
    assert numbers(journal) == [1, 2, 3, 4]


@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_every_changed_byte_is_reported_and_nothing_is_appended_behind_it(
    root: Path, march: Path, flip: int
) -> None:
    journal = JsonJournal(root, Files())
    fill(journal, 3)
    whole = march.read_bytes()
    last_line = whole.rindex(b"\n", 0, -1) + 1
    for at in range(len(whole)):
        changed = whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
        march.write_bytes(changed)
        with pytest.raises(StorageUnavailable):
            journal.read(AUDIT, limit=9)
        if at >= last_line:
            with pytest.raises(StorageUnavailable):
                fill(journal, 1)
            assert march.read_bytes() == changed


def test_removed_line_is_reported(root: Path, march: Path) -> None:
    journal = JsonJournal(root, Files())
    fill(journal, 3)
    lines = march.read_bytes().splitlines(keepends=True)
    march.write_bytes(lines[0] + lines[2])
    for after in (0, 1):
        with pytest.raises(StorageUnavailable, match="entry 2: missing"):
            journal.read(AUDIT, after=after, limit=9)


def test_journal_whose_first_entries_were_pruned_is_read(root: Path, march: Path) -> None:
    journal = JsonJournal(root, Files())
    fill(journal, 4)
    march.write_bytes(b"".join(march.read_bytes().splitlines(keepends=True)[2:]))
    for after in range(3):
        assert [entry.seq for entry in journal.read(AUDIT, after=after, limit=9)] == [3, 4]


async def test_doctor_names_each_problem(root: Path, march: Path) -> None:
    async with JsonFileStorage(root) as storage:
        await storage.transact(lambda tx: [tx.journal.append(AUDIT, lambda _: {}, at=T0)] * 2)
        assert await storage.findings() == []
        whole = march.read_bytes()
        march.write_bytes(whole.replace(b'"seq":1', b'"seq":2'))
        (root / AUDIT.name / "notes.txt").write_bytes(b"mine")
        foreign, damaged = await storage.findings()
    assert (foreign.path, foreign.problem) == ("audit/notes.txt", Problem.FOREIGN)
    assert (damaged.path, damaged.problem) == ("audit", Problem.DAMAGED)
    assert "2026-03.jsonl" in damaged.detail


def test_journal_that_is_damaged_is_reported_by_a_copy(root: Path, march: Path) -> None:
    fill(JsonJournal(root, Files()), 2)
    march.write_bytes(march.read_bytes().replace(b'"seq":2', b'"seq":3'))
    [unreadable] = (item for item in JsonFileExport(root).items() if not isinstance(item, Role))
    assert isinstance(unreadable, Unreadable)
    assert unreadable.name == "journal audit"


# --- failing file systems and power ----------------------------------------------------------


class Attempts:
    """Appends entries and records which were acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.number = 0

    def append(self, journal: JsonJournal) -> None:
        self.number += 1
        at = T0 + timedelta(days=self.number)
        journal.append(AUDIT, lambda _: content(self.number), at=at)
        self.acknowledged.append(self.number)

    def check(self, journal: JsonJournal) -> None:
        """Check that acknowledged entries exist in order, and others are complete or absent."""
        entries = list(journal.read(AUDIT, limit=99))
        found = [entry.content["number"] for entry in entries]
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert [number for number in found if number in self.acknowledged] == self.acknowledged
        assert all(entry.content == content(int(str(entry.content["number"]))) for entry in entries)
        last = fill(journal, 1, at=T0 + timedelta(days=20))[0]
        assert last.seq == len(entries) + 1


def made(files: VolatileFiles) -> JsonJournal:
    make_durable_folders(files, DATA)
    return JsonJournal(DATA, files)


def tried(faults: dict[int, Fault]) -> int:
    """Append with these faults and check the journal; return the number of file operations."""
    files, attempts = FaultyFiles(), Attempts()
    journal = made(files)
    files.faults, files.steps = faults, []
    for _ in range(APPENDS):
        with suppress(StorageFailure):
            attempts.append(journal)
    steps, files.faults = len(files.steps), {}
    with suppress(StorageFailure):
        attempts.append(journal)
    assert files.open_count == 0
    after_power_loss = files.after(Loss(random.Random(0), 0, 0))
    attempts.check(journal)
    attempts.check(JsonJournal(DATA, VolatileFiles.holding(after_power_loss)))
    return steps


@pytest.mark.parametrize("fault", Fault)
def test_any_step_may_fail(fault: Fault) -> None:
    steps = tried({})
    assert steps > 40
    for number in range(steps):
        try:
            tried({number: fault})
        except Exception as error:
            raise AssertionError(f"after {fault} in step {number}") from error


def test_any_two_steps_may_fail() -> None:
    rng = random.Random(SEED)
    for number in range(tried({})):
        for second in range(number + 1, number + 5):
            faults = {number: rng.choice(list(Fault)), second: rng.choice(list(Fault))}
            try:
                tried(faults)
            except Exception as error:
                raise AssertionError(f"after {faults}") from error


Left = list[tuple[Tree, list[int]]]
"""What losses of power left, each with what was acknowledged by then."""


def lost_during(files: VolatileFiles, attempts: Attempts, appends: int) -> Left:
    """Append with a power loss at each moment."""
    left: Left = []
    journal, rng = made(files), random.Random(SEED)

    def lose() -> None:
        for names, sectors in ((1, 0), (0, 1), (0, 0), (1, 1), *[(0.5, 0.5)] * 9, (0.3, 0.7)):
            left.append((files.after(Loss(rng, names, sectors)), list(attempts.acknowledged)))

    files.on_change = lose
    for _ in range(appends):
        attempts.append(journal)
    files.on_change = lambda: None
    return left


def check_all(left: Left, attempts: Attempts) -> None:
    for tree, acknowledged in left:
        attempts.acknowledged = acknowledged
        attempts.check(JsonJournal(DATA, VolatileFiles.holding(tree)))


@pytest.mark.parametrize("has_journal", [False, True])
def test_power_loss_at_any_moment_is_recovered(*, has_journal: bool) -> None:
    attempts = Attempts()
    left = lost_during(VolatileFiles(has_journal=has_journal), attempts, APPENDS)
    assert len(left) > 100
    check_all(left, attempts)


def test_power_loss_in_the_append_after_a_torn_one_is_recovered() -> None:
    files, attempts = VolatileFiles(), Attempts()
    attempts.append(made(files))
    tree = files.tree()
    [path] = [name for name in tree if name.endswith(".jsonl")]
    whole = tree[path]
    assert whole is not None
    tree[path] = whole[0] + b'{"seq":2,"at' + b"x" * 1500, whole[1]
    left = lost_during(VolatileFiles.holding(tree), attempts, 1)
    assert attempts.acknowledged == [1, 2]
    check_all(left, attempts)


def test_append_that_cannot_be_rolled_back_is_rolled_back_by_the_next_call() -> None:
    """A second fsync may succeed without having written anything."""
    files, attempts = FaultyFiles(), Attempts()
    journal = made(files)
    attempts.append(journal)
    files.next_faults = [("fsync", Fault.EIO), ("truncate", Fault.EINTR)]
    with pytest.raises(StorageUnavailable):
        attempts.append(journal)
    assert not files.next_faults
    assert numbers(journal) == [1]
    attempts.append(journal)
    attempts.check(
        JsonJournal(DATA, VolatileFiles.holding(files.after(Loss(random.Random(0), 0, 0))))
    )
