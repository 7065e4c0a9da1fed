"""Several services on one Postgres, their load, and a provider that can hold answers back."""
# ruff: noqa: ASYNC110 - no event announces that a service is back or a turn is done

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Self

import httpx

from kill_under_load import MARK, Asked, World, answer_to, check_session, reply, stored_turns
from process import Running, running, with_provider
from provider import FakeProvider, Fault, Json, Received, Wire

Answer = tuple[int, str]
DONE: Answer = (200, "")
BUSY: Answer = (409, "session_busy")
DOWN: Answer = (503, "storage_unavailable")
GONE: Answer = (0, "")  # the service died over it
CLIENTS = 8
TURN_WITHIN_S = 120
"""Longer than a lease, with a large margin for a slow machine."""


@dataclass
class Replicas:
    """Services that share a database."""

    folder: Path
    environment: dict[str, str]
    stack: AsyncExitStack
    world: World
    services: list[Running] = field(default_factory=list)
    _started: Iterator[int] = field(default_factory=count)
    _asked: Iterator[int] = field(default_factory=count)

    def new_mark(self) -> str:
        return f"[1-0-{next(self._asked)}]"

    def next(self) -> Running:
        """The next replica in rotation, as a proxy would choose it."""
        return self.services[next(self._asked) % len(self.services)]

    async def start(self) -> Running:
        """Start another replica."""
        own = self.folder / f"replica{next(self._started)}"
        own.mkdir()
        service = await self.stack.enter_async_context(running(own, **self.environment))
        self.services.append(service)
        return service

    def drop(self, service: Running) -> Process:
        """Take a replica out of rotation."""
        self.services.remove(service)
        return service.process

    async def begin(self, sessions: int) -> list[str]:
        """Create sessions."""
        answers = [await self.next().client.post("/sessions/new") for _ in range(sessions)]
        return [str(answer.raise_for_status().json()["session_id"]) for answer in answers]

    async def ask(self, service: Running, session_id: str, mark: str) -> Answer:
        asked = self.world.asked[mark] = Asked(session_id, sent=next(self.world.ticks))
        body = {"prompt": mark, "session_id": session_id}
        try:
            answer = await service.client.post("/chat", json=body, timeout=TURN_WITHIN_S)
        except httpx.TransportError:
            return GONE
        if answer.status_code == 200:
            asked.acknowledged = next(self.world.ticks)
            text = answer.json()["text"]
            self.world.expect(text == answer_to(mark), f"{mark} is answered: {text}")
            return DONE
        response = answer.status_code, answer.json()["code"]
        asked.is_refused = response == BUSY
        self.world.expect(
            "Retry-After" in answer.headers, f"{response} does not say when to come back"
        )
        return response

    async def until_accepted(self, session_id: str) -> None:
        """Ask until the session is free; each attempt waits for some seconds."""
        async with asyncio.timeout(TURN_WITHIN_S):
            while (response := await self.ask(self.next(), session_id, self.new_mark())) == BUSY:
                pass
        assert response == DONE

    async def until_answered(self, service: Running, session_id: str, answer: Answer) -> None:
        """Ask until this is the answer; only lost connections are tolerated meanwhile.

        A server may close an idle connection at the moment in which a client uses it again.
        """
        async with asyncio.timeout(TURN_WITHIN_S):
            while (response := await self.ask(service, session_id, self.new_mark())) == GONE:
                pass
        assert response == answer

    async def until_ready(self, service: Running, status: int) -> None:
        async with asyncio.timeout(TURN_WITHIN_S):
            while await self._readiness(service) != status:
                await asyncio.sleep(0.05)

    async def _readiness(self, service: Running) -> int | None:
        """The status of `/ready`; `None` if the connection or the response is lost."""
        try:
            return (await service.client.get("/ready")).status_code
        except httpx.TransportError:
            return None

    async def stored(self, session_id: str) -> dict[str, str]:
        """How each question ended; broken promises are added to `world.broken`."""
        found = await stored_turns(self.next(), self.world, session_id)
        check_session(self.world, session_id, found)
        return found


_SHARE = {"MODEL_MAX_CONCURRENT": "256"}
"""A user may use a quarter of the model slots: all the load is one user's."""


@asynccontextmanager
async def replicas(
    count: int, folder: Path, upstream: FakeProvider, world: World, **environment: str
) -> AsyncGenerator[Replicas]:
    settings = with_provider(upstream) | {
        "MODEL_FIRST_TOKEN_TIMEOUT_S": str(TURN_WITHIN_S),
        "MODEL_TURN_TIMEOUT_S": str(TURN_WITHIN_S),
        "LOG_LEVEL": "warning",
    }
    async with AsyncExitStack() as stack:
        found = Replicas(folder, settings | _SHARE | environment, stack, world)
        await asyncio.gather(*(found.start() for _ in range(count)))
        yield found


class Load:
    """Clients that ask the replicas in rotation, in shared sessions."""

    def __init__(self, replicas: Replicas, sessions: list[str]) -> None:
        self._replicas, self._sessions = replicas, sessions
        self._is_over = False
        self.acknowledged = 0

    async def __aenter__(self) -> Self:
        self._clients = [asyncio.create_task(self._converse()) for _ in range(CLIENTS)]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Wait until every client has its answer."""
        self._is_over = True
        await asyncio.gather(*self._clients)

    async def _converse(self) -> None:
        world = self._replicas.world
        while not self._is_over:
            session_id, mark = world.rng.choice(self._sessions), self._replicas.new_mark()
            response = await self._replicas.ask(self._replicas.next(), session_id, mark)
            world.expect(response in {DONE, BUSY, DOWN, GONE}, f"{mark} is answered {response}")
            self.acknowledged += response == DONE
            if response != DONE:
                await asyncio.sleep(0.05)

    async def more(self, turns: int) -> None:
        """Wait until this many more turns have been acknowledged."""
        wanted = self.acknowledged + turns
        async with asyncio.timeout(TURN_WITHIN_S):
            while self.acknowledged < wanted:
                await asyncio.sleep(0.01)


class HeldProvider(FakeProvider):
    """Answers at once, except held questions, which wait until they are released."""

    def __init__(self) -> None:
        super().__init__()
        self.fault, self.slow_s, self.reply = Fault.SLOW, 0.01, reply
        self._held: dict[str, asyncio.Event] = {}
        self._is_let_go = asyncio.Event()

    async def held_turn(
        self, replicas: Replicas, service: Running, session_id: str, mark: str
    ) -> asyncio.Task[Answer]:
        """A turn whose question has reached the provider and waits for its answer."""
        reached = self._held[mark] = asyncio.Event()
        turn = asyncio.create_task(replicas.ask(service, session_id, mark))
        await asyncio.wait_for(reached.wait(), TURN_WITHIN_S)
        return turn

    def let_go(self) -> None:
        self._is_let_go.set()

    async def _answer_well(self, wire: Wire, received: Received, fault: Fault | None) -> None:
        if reached := self._held.get(_newest_mark(received.body)):
            reached.set()
            waiting = [self._is_let_go.wait(), received.client_left.wait()]
            tasks = [asyncio.create_task(each) for each in waiting]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        await super()._answer_well(wire, received, fault)


def _newest_mark(body: Json) -> str:
    """The mark of the question, to which earlier unanswered questions are joined."""
    return MARK.findall(body["messages"][-1]["content"])[-1] if "messages" in body else ""
