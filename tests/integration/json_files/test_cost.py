"""The files that a turn and a list read."""

from pathlib import Path

from chatbot.adapters.storage.json_files.paths import folder_name
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import (
    MessageRange,
    MessageRole,
    SessionId,
)
from json_store import ANA, ONE, T0, Faulty, new_session, sessions_of, talk
from samples import new_message


class TestCost:
    async def test_cost_of_a_turn_does_not_grow_with_the_session(self, root: Path) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            lease, sessions = talk(storage, count=40), sessions_of(storage)
            costs = []
            for _ in range(2):
                files.read_bytes = 0
                added = sessions.append(lease, new_message(lease, MessageRole.USER, "x", ts=T0))
                sessions.read(ANA, ONE, MessageRange(limit=12))
                sessions.read(ANA, ONE, MessageRange(after=added.seq - 1, limit=1, oldest=True))
                sessions.memory(ANA, ONE)
                sessions.get(ANA, ONE)
                costs.append(files.read_bytes)
                log = root / "memory" / folder_name(ANA) / f"{ONE}.log"
                size = log.stat().st_size
                for n in range(300):
                    sessions.append(lease, new_message(lease, MessageRole.USER, f"{n}" * 50, ts=T0))
            assert size > 60_000
            assert costs[1] < 5 * 2 * 8192 + 1
            assert costs[1] < 3 * costs[0]

    async def test_page_opens_only_what_it_shows(self, root: Path) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            for n in range(30):
                sessions_of(storage).create(new_session(SessionId(f"{n:032x}")))
            files.opened = 0
            assert len(sessions_of(storage).page(ANA, limit=4)) == 4
            assert files.opened == 4
