"""Counters of usage in JSON files: a log for each day."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.ports.counters import Addition, CounterKey
from repositories import here_and_now
from samples import T0

USAGE = "usage"
LATE = T0 + timedelta(days=400)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def of(name: str, amount: int = 1, until: datetime = LATE) -> Addition:
    return Addition(key=CounterKey(USAGE, name), amount=amount, expires_at=until)


def log(root: Path, day: str = "2026-03-01") -> Path:
    return root / "counters" / USAGE / f"{day}.log"


async def test_each_settlement_appends_one_line_to_the_log_of_its_day(root: Path) -> None:
    async with JsonFileStorage(root) as storage:
        counters = here_and_now(storage).counters
        for _ in range(3):
            counters.settle(
                (), [of("2026-03-01|ana|turns"), of("2026-03-01|ana|tokens", 9)], now=T0
            )
        counters.settle((), [of("2026-03-02|ana|turns")], now=T0)
        assert len([line for line in log(root).read_bytes().split(b"\n") if line]) == 3
        assert counters.scan(USAGE, "2026-03-01|", now=T0) == {
            "2026-03-01|ana|turns": 3,
            "2026-03-01|ana|tokens": 27,
        }
        assert counters.scan(USAGE, "2026-03-0", now=T0)["2026-03-02|ana|turns"] == 1
        assert counters.read([of("2026-03-01|ana|turns").key], now=T0)
    async with JsonFileStorage(root) as storage:
        assert not await storage.inspect()


@pytest.mark.parametrize("damage", ["cut short", "changed"])
async def test_damaged_line_does_not_count_and_the_others_do(root: Path, damage: str) -> None:
    async with JsonFileStorage(root) as storage:
        counters = here_and_now(storage).counters
        counters.settle((), [of("2026-03-01|ana|turns", 5)], now=T0)
        whole = log(root).read_bytes()
        counters.settle((), [of("2026-03-01|ana|turns", 7)], now=T0)
        raw = log(root).read_bytes()
        log(root).write_bytes(raw[:-9] if damage == "cut short" else raw.replace(b":7", b":8"))
        assert log(root).read_bytes() != raw
        assert raw.startswith(whole)
        counters.settle((), [of("2026-03-01|ana|turns", 100)], now=T0)
        assert counters.scan(USAGE, "", now=T0) == {"2026-03-01|ana|turns": 105}


async def test_long_log_is_shortened_when_it_is_read_and_loses_nothing(root: Path) -> None:
    async with JsonFileStorage(root) as storage:
        counters = here_and_now(storage).counters
        long_name = "2026-03-01|" + "x" * 2000
        for _ in range(300):
            counters.settle((), [of(long_name)], now=T0)
        before = log(root).stat().st_size
        for _ in range(2):
            assert counters.scan(USAGE, "", now=T0) == {long_name: 300}
        assert log(root).stat().st_size < before / 100
        counters.settle((), [of(long_name)], now=T0)
        assert counters.scan(USAGE, "", now=T0) == {long_name: 301}


async def test_log_whose_counters_have_expired_is_removed_when_it_is_read(root: Path) -> None:
    async with JsonFileStorage(root) as storage:
        counters = here_and_now(storage).counters
        counters.settle((), [of("2026-03-01|ana|turns")], now=T0)
        assert not counters.scan(USAGE, "", now=LATE)
        assert not log(root).exists()


async def test_odd_names_stay_inside_of_the_folder(root: Path) -> None:
    names = ["../x|y", "", "|", "2026-03-01.log|x", "a" * 300 + "|x"]
    async with JsonFileStorage(root) as storage:
        counters = here_and_now(storage).counters
        counters.settle((), [of(name) for name in names], now=T0)
        assert counters.scan(USAGE, "", now=T0) == dict.fromkeys(names, 1)
        assert [path.name for path in log(root).parent.glob("*.log")] == ["0.log"]
