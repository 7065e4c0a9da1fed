"""The oldest messages of a log are found by their numbers, without reading the others."""

# ruff: noqa: ASYNC240 - a test may block a loop that is its own

from pathlib import Path

import pytest

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.adapters.storage.json_values import Damaged
from chatbot.domain.chat import MessageRange, MessageRole
from json_store import ANA, ONE, T0, Faulty, sessions_of, talk
from samples import new_message

PAGE = 50


async def test_every_page_from_the_oldest_on_reads_as_much_however_long_the_session_is(
    root: Path, log: Path
) -> None:
    files = Faulty()
    async with JsonFileStorage(root, files) as storage:
        lease, sessions = talk(storage, count=0), sessions_of(storage)
        for number in range(2000):
            text = f"{number} " * (1 + number % 90)
            sessions.append(lease, new_message(lease, MessageRole.USER, text, ts=T0))
        seen, costs = list[int](), list[int]()
        while len(seen) < 2000:
            files.read_bytes = 0
            selected = MessageRange(limit=PAGE, after=len(seen), before=2001, oldest=True)
            seen += [message.seq for message in sessions.read(ANA, ONE, selected)]
            costs.append(files.read_bytes)
    assert seen == list(range(1, 2001))
    size = len(log.read_bytes())
    assert sum(costs[20:]) < 1.2 * sum(costs[:20]) + size / 10
    assert sum(costs) < 10 * size


@pytest.mark.parametrize("long", [10, 5000, 100_000])
async def test_pages_join_whatever_the_lengths_of_the_lines(root: Path, long: int) -> None:
    async with JsonFileStorage(root) as storage:
        lease, sessions = talk(storage, count=0), sessions_of(storage)
        said = [
            sessions.append(
                lease, new_message(lease, MessageRole.USER, "é" * (long * (n % 7 == 3) + n), ts=T0)
            )
            for n in range(60)
        ]
        for limit in (1, 7, 60):
            for after in range(0, 61, 3):
                selected = MessageRange(limit=limit, after=after, before=58, oldest=True)
                assert sessions.read(ANA, ONE, selected) == said[after:57][:limit]


async def test_damage_among_the_selected_messages_is_reported(root: Path, log: Path) -> None:
    async with JsonFileStorage(root) as storage:
        lease, sessions = talk(storage, count=0), sessions_of(storage)
        for n in range(300):
            sessions.append(lease, new_message(lease, MessageRole.USER, f"text {n} " * 30, ts=T0))
        sessions.release(lease)
        lines = log.read_bytes().split(b"\n")
        for changed in (
            [*lines[:100], lines[100].replace(b"text", b"tExt", 1), *lines[101:]],
            [*lines[:100], b"x" * len(lines[100]), *lines[101:]],
            [*lines[:100], *lines[101:]],
            [*lines[:100], lines[100], *lines[100:]],
        ):
            log.write_bytes(b"\n".join(changed))
            selected = MessageRange(limit=300, oldest=True)
            with pytest.raises(Damaged):
                sessions.read(ANA, ONE, selected)
