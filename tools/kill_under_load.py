"""Kills the service under load, round after round: what it had acknowledged has to be there.

    make kill ARGS="[--rounds 20] [--seed N] [--storage URL] [--workers N]"

The store is empty: a relative URL counts from a fresh folder.

Clients talk in several sessions, plainly and in streams, while `chatbot serve` dies of SIGKILL.
After each restart every acknowledged turn must be there whole, once and in order; any other one
may be absent, whole, or without an answer, which the next turn then marks as a crash.
"""

import argparse
import asyncio
import json
import random
import re
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from itertools import count, islice, zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil  # type: ignore[import-untyped] # its stubs are not in the lock

from process import ENVIRONMENT, Running, running, with_provider
from provider import FakeProvider, Fault, default_reply
from service import SSE, begin

CLIENTS, FIRST_SESSIONS, NEW_SESSION_ODDS = 8, 5, 0.03
MOST_TURNS, MOST_SECONDS = 60, 0.05
"""A round ends up to so many seconds after up to so many acknowledged turns."""
ROUND_WITHIN_S = 300
TRIES = 9
"""Each waits for 5 s: together longer than a lease of 20 s."""
STORAGE = "json:data"
SETTINGS = {"MEM_STRUCTURED_ENABLE": "true", "MEM_EXTRACT_EVERY": "2", "LOG_LEVEL": "warning"}
COMMAND = "import sys; from chatbot.entrypoints.commands.cli import main; main(sys.argv[1:])"
MARK = re.compile(r"\[\d+-\d+-\d+\]")


@dataclass(slots=True)
class Asked:
    """A turn as its caller saw it; the times are ticks of one counter."""

    session_id: str
    sent: int
    acknowledged: int | None = None
    is_refused: bool = False


@dataclass
class World:
    """The responses to all callers, and every broken promise."""

    rng: random.Random
    ticks: Iterator[int] = field(default_factory=count)
    sessions: list[str] = field(default_factory=list)
    notebook: str = ""
    noted: int = 0
    note_in_doubt: int = 0
    asked: dict[str, Asked] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    turns_to_go: int = 0
    is_time: asyncio.Event = field(default_factory=asyncio.Event)

    def expect(self, is_so: object, complaint: str) -> None:
        if not is_so:
            self.broken.append(complaint)


# --- the load --------------------------------------------------------------------------------


def answer_to(mark: str) -> str:
    """What the provider says to a prompt with this mark: of another length for each."""
    return f"Answer to {mark}" + " and so on" * (sum(map(ord, mark)) % 40)


def reply(body: dict[str, Any]) -> str:
    marks = MARK.findall(body["messages"][-1]["content"])
    if body.get("response_format") or not marks:
        return default_reply(body)
    return answer_to(marks[-1])


async def converse(service: Running, world: World, number: int, client: int) -> None:
    """Ask until the service dies."""
    with suppress(httpx.TransportError):
        for question in count():
            if world.rng.random() < NEW_SESSION_ODDS:
                world.sessions.append(await begin(service.client))
            mark = f"[{number}-{client}-{question}]"
            await ask(service, world, world.rng.choice(world.sessions), mark, stream=client % 2)


async def ask(service: Running, world: World, session_id: str, mark: str, *, stream: int) -> None:
    asked = world.asked[mark] = Asked(session_id, sent=next(world.ticks))
    body = {"prompt": "word " * world.rng.randrange(150) + mark, "session_id": session_id}
    headers = SSE if stream else {}
    async with service.client.stream("POST", "/chat", json=body, headers=headers) as answer:
        if answer.status_code != 200:
            problem = json.loads(await answer.aread())
            asked.is_refused = problem["code"] == "session_busy"
            world.expect(asked.is_refused, f"{mark} is refused: {problem}")
            return
        reply = await done_event(answer.aiter_lines()) if stream else await answer.aread()
    asked.acknowledged = next(world.ticks)
    world.expect(json.loads(reply)["text"] == answer_to(mark), f"{mark} has another answer")
    world.turns_to_go -= 1
    if world.turns_to_go <= 0:
        world.is_time.set()


async def done_event(lines: AsyncIterator[str]) -> str:
    async for line in lines:
        if line == "event: done":
            return (await anext(lines)).removeprefix("data: ")
        if line == "event: error":
            return json.dumps({"text": await anext(lines)})
    raise httpx.ReadError("the stream ended too early")


async def take_notes(service: Running, world: World) -> None:
    """Rewrite the summary of a session in which nobody talks, until the service dies."""
    with suppress(httpx.TransportError):
        while True:
            world.note_in_doubt = world.noted + 1
            note = {"summary": str(world.note_in_doubt)}
            answer = await service.client.put(f"/sessions/{world.notebook}/summary", json=note)
            answer.raise_for_status()
            world.noted = world.note_in_doubt


async def load_and_kill(service: Running, world: World, number: int) -> None:
    """Let all clients ask, and kill the service at a random moment."""
    world.is_time.clear()
    world.turns_to_go = world.rng.randint(1, MOST_TURNS)
    async with asyncio.TaskGroup() as tasks:
        for client in range(CLIENTS):
            tasks.create_task(converse(service, world, number, client))
        tasks.create_task(take_notes(service, world))
        await asyncio.wait_for(world.is_time.wait(), ROUND_WITHIN_S)
        await asyncio.sleep(world.rng.uniform(0, MOST_SECONDS))
        kill(service)


def kill(service: Running) -> None:
    """Kill it with its workers; its parent is stopped first, or it would replace them."""
    parent = psutil.Process(service.process.pid)
    parent.suspend()
    for worker in parent.children():
        worker.kill()
    service.process.kill()


# --- what has to be there --------------------------------------------------------------------


async def messages_of(service: Running, session_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while not found or found[0]["seq"] > 1:
        before = f"&before={found[0]['seq']}" if found else ""
        path = f"/sessions/{session_id}?limit=200{before}"
        page = (await service.client.get(path)).json()["messages"]
        if not page:
            break
        found = page + found
    return found


async def stored_turns(service: Running, world: World, session_id: str) -> dict[str, str]:
    """Each question's mark, in order, and how it ended: `whole`, `crash` or `open`."""
    messages = await messages_of(service, session_id)
    numbers = [message["seq"] for message in messages]
    world.expect(numbers == list(range(1, len(numbers) + 1)), f"{session_id}: numbers {numbers}")
    found: dict[str, str] = {}
    for question, answer in zip_longest(messages, messages[1:]):
        if question["role"] == "assistant":
            continue
        [mark] = MARK.findall(question["content"])
        world.expect(mark not in found, f"{mark} is there twice")
        found[mark] = ending(mark, answer)
    world.expect("open" not in list(found.values())[:-1], f"{session_id}: no answer in the middle")
    return found


def ending(mark: str, answer: dict[str, Any] | None) -> str:
    if answer is None or answer["role"] == "user":
        return "open"
    if answer["state"] == "complete":
        return "whole" if answer["content"] == answer_to(mark) else "spoiled"
    return "crash" if (answer["reason"], answer["content"]) == ("crash", "") else "spoiled"


def check_session(world: World, session_id: str, found: dict[str, str]) -> None:
    for mark, end in found.items():
        asked = world.asked[mark]
        world.expect(asked.session_id == session_id, f"{mark} is in another session")
        world.expect(end in {"whole", "open", "crash"}, f"{mark} is {end}")
        world.expect(not asked.is_refused, f"{mark} was refused and is stored")
    for mark, asked in world.asked.items():
        if asked.session_id == session_id and asked.acknowledged is not None:
            world.expect(found.get(mark) == "whole", f"{mark} is lost: {found.get(mark)}")
    turns = [world.asked[mark] for mark in found]
    for at, later in enumerate(turns):
        acknowledged = [
            turn.acknowledged for turn in turns[at + 1 :] if turn.acknowledged is not None
        ]
        world.expect(
            not acknowledged or min(acknowledged) > later.sent, f"{session_id}: not in order"
        )


async def check(service: Running, world: World) -> dict[str, str]:
    """Look at every session; return how each stored turn ended."""
    ends: dict[str, str] = {}
    for session_id in world.sessions:
        found = await stored_turns(service, world, session_id)
        check_session(world, session_id, found)
        ends |= found
    note = await service.answer("GET", f"/sessions/{world.notebook}/summary")
    found_note = int(note["summary"] or 0)
    world.expect(found_note in {world.noted, world.note_in_doubt}, f"note {world.noted} is lost")
    world.noted = found_note
    return ends


async def go_on(service: Running, world: World, number: int) -> None:
    """One more turn in every session; after it no question is open.

    On SQL a session that was held when the service died is busy until its lease has run out.
    """
    marks = (f"[{number}-{CLIENTS}-{at}]" for at in count())
    for at, session_id in enumerate(world.sessions):
        for mark in islice(marks, TRIES):
            await ask(service, world, session_id, mark, stream=at % 2)
            if not world.asked[mark].is_refused:
                break
    ends = await check(service, world)
    world.expect("open" not in ends.values(), "an open question was not marked as a crash")


async def examine(folder: Path, world: World, environment: dict[str, str]) -> int:
    """What `chatbot doctor` says of the dead service's files; return the number of leftovers."""
    out, errors = await command(folder, "doctor", environment)
    failed = [line for line in out.splitlines() if line.startswith("FAIL  storage: ")]
    leftovers = [line for line in failed if ": leftover: " in line]
    world.broken += [line for line in failed if line not in leftovers]
    world.expect(out and not errors, errors)
    return len(leftovers)


async def command(folder: Path, name: str, environment: dict[str, str]) -> tuple[str, str]:
    """Run `chatbot NAME`; return what it says, and its errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, name),
        cwd=folder,
        env=ENVIRONMENT | environment,
        stdout=PIPE,
        stderr=PIPE,
    )
    out, errors = await process.communicate()
    return out.decode(), errors.decode()


# --- the rounds ------------------------------------------------------------------------------

COLUMNS = "round  acknowledged  absent  whole  open  sessions  leftovers  verdict"


async def run(
    folder: Path, *, rounds: int, seed: int, storage: str = STORAGE, workers: int = 1
) -> list[str]:
    """Print a line for each round; return every broken promise."""
    world = World(random.Random(seed))
    print(f"{urlsplit(storage).scheme}, seed {seed}\n{COLUMNS}")
    async with FakeProvider() as upstream, AsyncExitStack() as services:
        upstream.fault, upstream.slow_s, upstream.piece_delay_s = Fault.SLOW, 0.01, 0.001
        upstream.reply = reply
        environment = with_provider(upstream) | SETTINGS
        environment |= {"STORAGE_URL": storage, "WORKERS": str(workers)}
        _, errors = await command(folder, "init", environment)
        assert not errors, errors
        service = await services.enter_async_context(running(folder, **environment))
        world.notebook = await begin(service.client)
        world.sessions += [await begin(service.client) for _ in range(FIRST_SESSIONS)]
        for number in range(1, rounds + 1):
            await load_and_kill(service, world, number)
            leftovers = await examine(folder, world, environment)
            service = await services.enter_async_context(running(folder, **environment))
            ends = await check(service, world)
            await go_on(service, world, number)
            print(row(world, number, ends, leftovers), flush=True)
    return world.broken


def row(world: World, number: int, ends: dict[str, str], leftovers: int) -> str:
    mine = {
        m: a for m, a in world.asked.items() if MARK.match(m) and m[1:].startswith(f"{number}-")
    }
    load = {mark: asked for mark, asked in mine.items() if f"-{CLIENTS}-" not in mark}
    acknowledged = sum(asked.acknowledged is not None for asked in load.values())
    rest = Counter(ends.get(m, "absent") for m, a in load.items() if a.acknowledged is None)
    verdict = "BROKEN" if world.broken else "ok"
    return (
        f"{number:5}  {acknowledged:12}  {rest['absent']:6}  {rest['whole']:5}"
        f"  {rest['open']:4}  {len(world.sessions):8}  {leftovers:9}  {verdict}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--storage", metavar="URL", default=STORAGE)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        broken = asyncio.run(run(Path(folder), **vars(given)))
    print("\n".join(broken) or "nothing acknowledged was lost", flush=True)
    if broken:
        print(f"{len(broken)} promises broken; again with: --seed {given.seed}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
