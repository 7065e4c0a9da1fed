"""How small it is: start, first turn, memory under load, and what is installed.

A start is measured until `/ready` says yes, and divided by what importing FastAPI, Genkit and
its OpenAI plug-in and warming Genkit up for one model takes by itself, in the same round. With
the development lock installed, libraries import more than with the base lock: 3 to 4 MiB.
"""

import argparse
import asyncio
import importlib.metadata
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from bench_logins import add_users, log_in
from harness import (
    AT_ONCE,
    HERE,
    MEMORY_OFF,
    Figure,
    Server,
    environment,
    fill,
    measure,
    provider,
    started,
    table,
    turn,
)
from stores import made

LONE_TURNS = 20
LOGINS = 10  # of each person
IMPORTS = """
import asyncio
import fastapi
from genkit import Genkit
from genkit_openai import OpenAI
ai = Genkit(plugins=[OpenAI(api_key="none")])
asyncio.run(ai.registry.resolve_model("openai/gpt-4o"))
"""


async def lone_turns(server: Server, sessions: list[str]) -> tuple[float, float]:
    """Seconds of the first turn once it is ready, and of the median one after it."""
    ask, took = turn(server, sessions), list[float]()
    async with aiohttp.ClientSession() as http:
        for _ in range(LONE_TURNS):
            began = time.perf_counter()
            await ask(http, 0)
            took.append(time.perf_counter() - began)
    return took[0], statistics.median(took[1:])


async def log_ins(server: Server, emails: list[str]) -> None:
    async with aiohttp.ClientSession() as http:
        for _ in range(LOGINS):
            await asyncio.gather(*(log_in(http, server, email) for email in emails))


async def until_ready(server: Server) -> None:
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{server.url}/ready") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.01)


def installed() -> tuple[float, int]:
    """MB and number of the distributions of the base lock that this platform installs."""
    lock = (HERE.parent / "requirements.lock").read_text(encoding="utf-8")
    size = count = 0
    for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE):
        try:
            files = importlib.metadata.distribution(name).files or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform
        count += 1
        paths = (Path(str(file.locate())) for file in files)
        size += sum(path.stat().st_size for path in paths if path.is_file())
    ours = (HERE.parent / "src").rglob("*")
    sources = (path for path in ours if path.is_file() and path.suffix != ".pyc")
    return (size + sum(path.stat().st_size for path in sources)) / 1e6, count + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    starts, imports, firsts, after_turns, after_logins = [], [], [], 0.0, 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = made(f"json:{folder / 'data'}")
        sessions = asyncio.run(fill(url, 10))
        emails = asyncio.run(add_users(url))
        with provider(folder) as upstream:
            settings = environment(upstream, url) | MEMORY_OFF
            for _ in range(options.rounds):
                began = time.perf_counter()
                subprocess.run([sys.executable, "-c", IMPORTS], check=True)
                imports.append(time.perf_counter() - began)
                began = time.perf_counter()
                with started("service", ["-m", "chatbot"], folder, **settings) as server:
                    asyncio.run(until_ready(server))
                    starts.append(time.perf_counter() - began)
                    firsts.append(asyncio.run(lone_turns(server, sessions)))
                    asyncio.run(measure(server, turn(server, sessions), 20 * AT_ONCE))
                    asyncio.run(measure(server, turn(server, sessions, stream=True), 10 * AT_ONCE))
                    after_turns = max(after_turns, server.pss_mib())
                    asyncio.run(log_ins(server, emails))
                    after_logins = max(after_logins, server.pss_mib())
    memory = [
        Figure(
            what="memory (PSS) after turns, 16 at once", value=after_turns, target=95, unit=" MiB"
        ),
        Figure(what="memory (PSS) after log-ins", value=after_logins, target=100, unit=" MiB"),
    ]
    print(table([*figures(starts, imports, firsts), *memory, *install()]))


def figures(
    starts: list[float], imports: list[float], firsts: list[tuple[float, float]]
) -> list[Figure]:
    ready = statistics.median(one / other for one, other in zip(starts, imports, strict=True))
    first = statistics.median(first for first, _ in firsts) * 1000
    lone = statistics.median(lone for _, lone in firsts) * 1000
    return [
        Figure(what="start until ready", value=statistics.median(starts), unit=" s"),
        Figure(what="ready / imports and warming up alone", value=ready, target=1.5),
        Figure(what="a lone turn", value=lone, unit=" ms"),
        Figure(what="first turn after ready", value=first, target=2 * lone + 20, unit=" ms"),
    ]


def install() -> list[Figure]:
    size, count = installed()
    return [
        Figure(what="base install", value=size, target=130, unit=" MB"),
        Figure(what="distributions in it", value=count),
    ]


if __name__ == "__main__":
    main()
