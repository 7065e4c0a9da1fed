"""What more worker processes bring: turns a second, CPU and memory of them all, time to ready.

Each number of workers answers the same clients from the same folder of JSON files, in one piece:
once through the stand-in for a provider, once with the embedded model. The stand-in and the
clients run on this machine too; with the embedded model, less is taken from the service.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp
from bench_size import until_ready
from harness import (
    AT_ONCE,
    HISTORY_MESSAGES,
    MEMORY_OFF,
    Ask,
    Figure,
    environment,
    fill,
    provider,
    started,
    table,
    turn,
)
from stores import made

WORKERS = (1, 2, 4)
MODELS = {"a provider": "openai/bench", "the embedded model": "local/extractive"}
Row = tuple[float, float, float, float]


async def turns_a_second(ask: Ask, turns: int) -> float:
    """16 clients at once, each with a new connection for each turn, as many callers have."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:

        async def client(number: int) -> None:
            for _ in range(turns // AT_ONCE):
                await ask(http, number)

        began = time.perf_counter()
        await asyncio.gather(*(client(number) for number in range(AT_ONCE)))
        return turns / (time.perf_counter() - began)


def measured(workers: int, folder: Path, settings: dict[str, str], turns: int) -> Row:
    sessions = asyncio.run(fill(settings["STORAGE_URL"], HISTORY_MESSAGES))
    began = time.perf_counter()
    command = ["-m", "chatbot", "--workers", str(workers)]
    with started("service", command, folder, **settings) as server:
        asyncio.run(until_ready(server))
        ready_s = time.perf_counter() - began
        ask = turn(server, sessions)
        asyncio.run(turns_a_second(ask, turns // 4))  # warms up
        before = server.cpu_s()
        rate = asyncio.run(turns_a_second(ask, turns))
        cpu_ms = (server.cpu_s() - before) * 1000 / turns
        return rate, cpu_ms, server.pss_mib(), ready_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=960, help="a round")
    options = parser.parse_args()
    cases = [(model, workers) for model in MODELS for workers in WORKERS]
    found: dict[tuple[str, int], list[Row]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as name, provider(Path(name)) as upstream:
        folder = Path(name)
        url = made(f"json:{folder / 'data'}")
        settings = environment(upstream, url) | MEMORY_OFF | {"LOG_LEVEL": "warning"}
        for _ in range(options.rounds):
            for (model, workers), rows in found.items():
                given = settings | {"GENKIT_MODEL": MODELS[model]}
                rows.append(measured(workers, folder, given, options.turns))
    print(table([one for case, rows in found.items() for one in figures(*case, rows)]))


def figures(model: str, workers: int, rows: list[Row]) -> list[Figure]:
    rate, cpu_ms, memory, ready_s = (
        statistics.median(column) for column in zip(*rows, strict=True)
    )
    who = f"{workers} worker{'s' if workers > 1 else ''}, {model}"
    return [
        Figure(what=f"{who}: turns a second", value=rate),
        Figure(what=f"{who}: CPU a turn, all processes", value=cpu_ms, unit=" ms"),
        Figure(what=f"{who}: memory (PSS) after turns", value=memory, unit=" MiB"),
        Figure(what=f"{who}: start until ready", value=ready_s, unit=" s"),
    ]


if __name__ == "__main__":
    main()
