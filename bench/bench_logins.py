"""What log-ins cost those who chat: there are 20 log-ins a second while eight clients chat.

Chat latency (p99) and throughput with the log-ins, each divided by that without them; medians
of interleaved rounds. Every log-in hashes a password with Argon2id.
"""

import argparse
import asyncio
import math
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import aiohttp
from harness import (
    KEY,
    MEMORY_OFF,
    Figure,
    Server,
    environment,
    fill,
    provider,
    started,
    table,
    turn,
    user,
)
from stores import made, settings_of

from chatbot.adapters.security.argon2_hasher import Argon2Hasher
from chatbot.domain.identity import User, UserId
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import build_storage

CLIENTS = 8
LOGINS_PER_S = 20
PASSWORD = "violet kettle drums at noon"


def _add(person: User, tx: Transaction) -> None:
    tx.users.add(person)


async def add_users(url: str) -> list[str]:
    hasher = Argon2Hasher()
    people = [user(UserId(f"{n:032x}"), await hasher.hash(PASSWORD)) for n in range(CLIENTS)]
    async with build_storage(settings_of(url)) as storage:
        for person in people:
            await storage.transact(partial(_add, person))
    await hasher.aclose()
    return [person.email for person in people]


async def chat(server: Server, sessions: list[str], turns: int) -> tuple[float, float]:
    """The p99 of the turns' seconds, and turns a second."""
    ask, took = turn(server, sessions), list[float]()

    async def one(http: aiohttp.ClientSession, number: int) -> None:
        for _ in range(turns):
            began = time.perf_counter()
            await ask(http, number)
            took.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(one(http, number) for number in range(CLIENTS)))
    took.sort()
    return took[math.ceil(0.99 * len(took)) - 1], len(took) / (time.perf_counter() - began)


async def log_in(http: aiohttp.ClientSession, server: Server, email: str) -> None:
    credentials, headers = {"email": email, "password": PASSWORD}, {"X-API-Key": KEY}
    async with http.post(f"{server.url}/auth/login", json=credentials, headers=headers) as answer:
        await answer.read()
        assert answer.status == 200, answer.status


async def keep_logging_in(http: aiohttp.ClientSession, server: Server, email: str) -> None:
    pause_s = CLIENTS / LOGINS_PER_S
    while True:
        due = time.perf_counter() + pause_s
        await log_in(http, server, email)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))


async def turns_during_log_ins(
    server: Server, sessions: list[str], turns: int, emails: list[str]
) -> tuple[float, float]:
    async with aiohttp.ClientSession() as http:
        log_ins = [asyncio.create_task(keep_logging_in(http, server, email)) for email in emails]
        try:
            return await chat(server, sessions, turns)
        finally:
            for one in log_ins:
                one.cancel()
            ended = await asyncio.gather(*log_ins, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turns", type=int, default=40, help="of each client in a round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = made(f"json:{folder / 'data'}")
        sessions = asyncio.run(fill(url, 10))
        emails = asyncio.run(add_users(url))
        with (
            provider(folder) as upstream,
            started("service", ["-m", "chatbot"], folder,
                    **environment(upstream, url), **MEMORY_OFF) as server,
        ):  # fmt: skip
            asyncio.run(chat(server, sessions, options.turns))  # warms up
            alone, with_logins = [], []
            for _ in range(options.rounds):
                alone.append(asyncio.run(chat(server, sessions, options.turns)))
                with_logins.append(
                    asyncio.run(turns_during_log_ins(server, sessions, options.turns, emails))
                )
    print(table(figures(alone, with_logins)))


def figures(
    alone: list[tuple[float, float]], with_logins: list[tuple[float, float]]
) -> list[Figure]:
    def median(rounds: list[tuple[float, float]], which: int) -> float:
        return statistics.median(found[which] for found in rounds)

    slower = median(with_logins, 0) / median(alone, 0)
    kept = median(with_logins, 1) / median(alone, 1)
    return [
        Figure(what="chat p99 alone", value=median(alone, 0) * 1000, unit=" ms"),
        Figure(what="chat p99 with log-ins", value=median(with_logins, 0) * 1000, unit=" ms"),
        Figure(what="chat p99, with / without log-ins", value=slower, target=1.25),
        Figure(what="throughput, with / without", value=kept, target=0.8, at_least=True),
    ]


if __name__ == "__main__":
    main()
