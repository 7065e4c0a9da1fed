"""What the service adds to the provider's time, at 100 turns a second that do not wait for each other.

Open loop: a turn begins each 10 ms, whether the ones before are answered or not, as people do. On
each store, authenticated by key and token and stored, in sessions of ten messages; in rounds that
alternate with calls of the provider itself at the same pace. Added is what a turn takes more than
the provider's median.
"""

import argparse
import asyncio
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
from harness import (
    AT_ONCE,
    HISTORY_MESSAGES,
    MEMORY_OFF,
    PROMPT,
    Ask,
    Figure,
    Server,
    environment,
    fill,
    new_sessions,
    provider,
    started,
    table,
    turn,
)
from stores import stores

TURNS_A_SECOND = 100
SESSIONS = 256
"""Each is asked again after 2.5 s: no turn waits for the one before in its session."""

UNLIMITED = {"MODEL_MAX_CONCURRENT": str(4 * SESSIONS)}
"""A quarter of them is one person's. A turn that is late is counted as late, and not refused."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4, help="of a round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        cases = start(Path(folder), stack)
        took: dict[str, list[float]] = {name: [] for name in cases}
        for number in range(options.rounds + 1):
            for name, ask in cases.items():
                found = asyncio.run(paced(ask, int(options.seconds * TURNS_A_SECOND)))
                if number:  # the first round warms up
                    took[name] += found
    print(table(list(figures(took))))


def start(folder: Path, stack: ExitStack) -> dict[str, Ask]:
    upstream = stack.enter_context(provider(folder))
    cases = {"provider": alone(upstream)}
    for store, url in stack.enter_context(stores(folder)).items():
        settings = environment(upstream, url) | MEMORY_OFF | UNLIMITED
        service = started(store, ["-m", "chatbot"], folder, **settings)
        if store == "memory":
            server = stack.enter_context(service)
            cases[store] = turn(server, some(asyncio.run(new_sessions(server))), has_user=False)
        else:
            filled = [asyncio.run(fill(url, HISTORY_MESSAGES)) for _ in range(SESSIONS // AT_ONCE)]
            server = stack.enter_context(service)
            cases[store] = turn(server, some([one for part in filled for one in part]))
    return cases


def some(sessions: list[str]) -> list[str]:
    """So many that each round's turns find one by their number."""
    return sessions * (SESSIONS // len(sessions))


def alone(upstream: Server) -> Ask:
    body = {
        "model": "bench",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": PROMPT}],
    }

    async def ask(http: aiohttp.ClientSession, _: int) -> None:
        async with http.post(f"{upstream.url}/v1/chat/completions", json=body) as answer:
            await answer.read()
            assert answer.status == 200

    return ask


async def paced(ask: Ask, turns: int) -> list[float]:
    """Milliseconds of each turn, counted from when it was due."""
    loop, took = asyncio.get_running_loop(), list[float]()

    async def one(http: aiohttp.ClientSession, number: int, due: float) -> None:
        await ask(http, number % SESSIONS)
        took.append((time.perf_counter() - due) * 1000)

    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        asyncio.TaskGroup() as tasks,
    ):
        first = loop.time()
        for number in range(turns):
            await asyncio.sleep(first + number / TURNS_A_SECOND - loop.time())
            tasks.create_task(one(http, number, time.perf_counter()))
    return took


def figures(took: dict[str, list[float]]) -> Iterator[Figure]:
    upstream_ms = statistics.median(took.pop("provider"))
    yield Figure(what="the provider alone, median", value=upstream_ms, unit=" ms")
    for store, each in took.items():
        each.sort()
        added = statistics.median(each) - upstream_ms
        yield Figure(what=f"{store}: added to a turn, p50", value=added, target=4, unit=" ms")
        added = each[math.ceil(0.99 * len(each)) - 1] - upstream_ms
        yield Figure(what=f"{store}: added to a turn, p99", value=added, target=12, unit=" ms")


if __name__ == "__main__":
    main()
