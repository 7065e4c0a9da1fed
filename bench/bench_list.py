"""The first page of a user's sessions: milliseconds in each store and over HTTP.

Twenty sessions of 100,000 that 100 users have, and of 100,000 that one user has. Files are read
with a warm cache of the system; what a cold one costs is said in docs/limits.md.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import aiohttp
from harness import KEY, Figure, Server, add, environment, provider, started, table, token, user
from stores import conversation, put, settings_of, stores

from chatbot.domain.chat import Session
from chatbot.domain.identity import Owner, UserId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import build_storage

HTTP_SESSIONS = 10_000
PAGE = 20
PEOPLE = [UserId(f"{number:032x}") for number in range(100)]
ONE = UserId("e" * 32)
TARGETS_MS = {"JSON": (150, 1000), "SQLite": (5, 5), "Postgres": (5, 5)}


async def fill(storage: Storage, url: str, people: list[UserId], sessions: int) -> None:
    """Sessions of one message each, in an order that mixes the users."""
    began = datetime.now(UTC) - timedelta(seconds=sessions)
    owners = [Owner(kind="user", id=person) for person in people]
    said = "What is still open for Thursday?"
    added = (
        conversation(owners[n % len(owners)], 1, said, at=began + timedelta(seconds=n))
        for n in range(sessions)
    )
    await put(storage, url, added)


async def in_store(storage: Storage, people: list[UserId], pages: int) -> float:
    """The median of so many pages, in seconds."""
    took = []
    for number in range(pages + 1):
        owner = Owner(kind="user", id=people[number % len(people)])
        began = time.perf_counter()
        page = await storage.transact(partial(first_page, owner))
        took.append(time.perf_counter() - began)
        assert len(page) == PAGE, page
    return statistics.median(took[1:])


def first_page(owner: Owner, tx: Transaction) -> Sequence[Session]:
    return tx.sessions.page(owner, limit=PAGE)


async def of_store(name: str, url: str, sessions: int, rounds: int) -> list[Figure]:
    """For 100 users, who may have some already, and for one."""
    found = []
    async with build_storage(settings_of(url)) as storage:
        for people, there, target in zip(
            (PEOPLE, [ONE]), (HTTP_SESSIONS, 0), TARGETS_MS[name], strict=True
        ):
            await fill(storage, url, people, sessions - there)
            pages = rounds * max(3, len(people))
            ms = await in_store(storage, people, pages) * 1000
            who = f"{len(people)} users" if len(people) > 1 else "one user"
            what = f"{name}: first page of {sessions:,} sessions of {who}"
            found.append(Figure(what=what, value=ms, target=target, unit=" ms"))
    return found


async def prepare(url: str) -> None:
    async with build_storage(settings_of(url)) as storage:
        for person in PEOPLE:
            await storage.transact(partial(add, person=user(person)))
        await fill(storage, url, PEOPLE, HTTP_SESSIONS)


async def over_http(server: Server, rounds: int) -> float:
    """The median of one page for each user, round after round, in seconds."""
    took = []
    async with aiohttp.ClientSession() as http:
        for number in range(rounds * len(PEOPLE)):
            bearer = f"Bearer {token(PEOPLE[number % len(PEOPLE)])}"
            began = time.perf_counter()
            async with http.get(
                f"{server.url}/sessions", headers={"X-API-Key": KEY, "Authorization": bearer}
            ) as answer:
                page = await answer.json()
            took.append(time.perf_counter() - began)
            assert len(page["sessions"]) > 1, page
            assert page["next"], page
    return statistics.median(took[len(PEOPLE) :] or took)


def http_figure(folder: Path, url: str, rounds: int) -> Figure:
    with (
        provider(folder) as upstream,
        started("service", ["-m", "chatbot"], folder, **environment(upstream, url)) as server,
    ):
        ms = asyncio.run(over_http(server, rounds)) * 1000
    what = f"JSON, over HTTP: first page of {HTTP_SESSIONS:,} sessions of {len(PEOPLE)} users"
    return Figure(what=what, value=ms, target=20, unit=" ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sessions", type=int, default=100_000, help="in each store")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, stores(Path(name)) as urls:
        for each in TARGETS_MS:
            asyncio.run(prepare(urls[each]))
        found = [http_figure(Path(name), urls["JSON"], options.rounds)]
        for each in TARGETS_MS:
            found += asyncio.run(of_store(each, urls[each], options.sessions, options.rounds))
    print(table(found))


if __name__ == "__main__":
    main()
