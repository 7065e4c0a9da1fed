"""Background work of one owner does not delay that of another."""

import asyncio
from collections.abc import Callable

from chatbot.application.background_slots import BackgroundSlots
from chatbot.domain.identity import Owner
from conversation import PATIENCE_S

ANA, LUIS, EVA = (Owner(kind="user", id=name) for name in ("ana", "luis", "eva"))


class Work:
    """Work that records its name when it gets a slot, and keeps the slot until it is ended."""

    def __init__(self, count: int) -> None:
        self.slots = BackgroundSlots(count)
        self.begun: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}
        self.at_the_end: Callable[[], object] = lambda: None

    async def wants(self, owner: Owner, *names: str) -> None:
        for name in names:
            self._ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._do(owner, name))
        await asyncio.sleep(0)

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await asyncio.wait_for(self.tasks[name], PATIENCE_S)
            await asyncio.sleep(0)

    async def _do(self, owner: Owner, name: str) -> None:
        async with self.slots.acquired(owner):
            self.begun.append(name)
            await self._ends[name].wait()
        self.at_the_end()


async def test_backlog_of_one_owner_does_not_delay_other_owners() -> None:
    work = Work(2)
    await work.wants(ANA, *(f"ana {n}" for n in range(100)))
    await work.wants(LUIS, "luis 0", "luis 1")
    await work.wants(EVA, "eva 0")
    assert work.begun == ["ana 0", "ana 1"]
    for number in range(7):
        await work.end(work.begun[number])
    expected = ["ana 2", "luis 0", "eva 0", "ana 3", "luis 1", "ana 4", "ana 5"]
    assert work.begun[2:] == expected
    for task in work.tasks.values():
        task.cancel()
    await asyncio.wait(work.tasks.values())


async def test_cancelling_a_waiter_does_not_leak_its_place() -> None:
    work = Work(1)
    await work.wants(ANA, "ana")
    await work.wants(LUIS, "luis", "luis too")
    await work.wants(EVA, "eva")
    work.tasks["luis too"].cancel()  # while it waits
    work.at_the_end = work.tasks["luis"].cancel  # it has just been given its place
    await work.end("ana", "eva")
    await work.wants(ANA, "again")
    assert work.begun == ["ana", "eva", "again"]
    await work.end("again")
