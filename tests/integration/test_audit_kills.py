"""SIGKILL at random moments while events are recorded: the chain stays intact, and none is lost."""

import random
import subprocess
import sys
import time

import pytest

from audit_store import AuditStore
from commands import Run
from process import ENVIRONMENT, STARTS_WITHIN_S

SEED = 20260303
KILLS = 6
PROGRAM = """
import asyncio
from audit_store import AuditStore, ROOT, event
from chatbot.application.audit_queue import AuditQueue
from chatbot.entrypoints.container.parts import build_storage

async def run():
    store = AuditStore()
    async with build_storage(store.settings) as storage:
        queue = AuditQueue(storage, store.auditing)
        async def record(number):
            def change(tx):
                with store.auditing.recording(tx, ROOT, event(number)):
                    pass
            while True:
                await queue.note(ROOT, event(number))
                print(".", flush=True)
                await storage.transact(change)
                print(".", flush=True)
        await asyncio.gather(*(record(number) for number in range(4)))

asyncio.run(run())
"""


@pytest.fixture(params=["json", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "postgres":
        found: str = request.getfixturevalue("postgres_database")
        return found
    return {"json": "json:data", "sqlite": "sqlite:///data/chatbot.db"}[request.param]


def test_chain_is_intact_after_kills_at_random_moments(
    url: str, ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_URL", url)
    assert ready("init")[0] == 0
    rng = random.Random(SEED)
    acknowledged = sum(recorded_until_killed(url, rng.uniform(0.0, 0.2)) for _ in range(KILLS))
    assert acknowledged > KILLS
    code, out, _ = ready("audit", "verify")
    assert code == 0, out
    assert len(AuditStore().rows()) >= acknowledged


def recorded_until_killed(url: str, after_s: float) -> int:
    """How many events a process has acknowledged before it was killed."""
    paths = [path for path in sys.path if path.endswith("support")]
    process = subprocess.Popen(  # our own program
        [sys.executable, "-c", PROGRAM],
        env=ENVIRONMENT | {"STORAGE_URL": url, "PYTHONPATH": paths[0]},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    deadline = time.monotonic() + STARTS_WITHIN_S
    assert process.stdout.readline() == b".\n"
    assert time.monotonic() < deadline
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
    return 1 + process.communicate()[0].count(b"\n")
