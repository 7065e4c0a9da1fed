"""The first page of GET /sessions, with 10,000 sessions of 100 users: milliseconds it takes."""

import argparse
import asyncio
import secrets
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from rig import (
    KEY,
    Figure,
    Server,
    UnsyncedFiles,
    environment,
    provider,
    started,
    table,
    token,
    user,
)

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import Author, Session, SessionId, TurnId
from chatbot.domain.identity import Owner, UserId
from chatbot.domain.ports.storage import Transaction

USERS, SESSIONS_EACH = 100, 100
PEOPLE = [UserId(f"{number:032x}") for number in range(USERS)]


async def fill(data: Path) -> None:
    """Sessions of two messages each, in an order that mixes the users."""
    began = datetime.now(UTC) - timedelta(days=1)

    def add(tx: Transaction) -> None:
        for number in range(USERS * SESSIONS_EACH):
            owner = Owner(kind="user", id=PEOPLE[number % USERS])
            session_id, now = SessionId(secrets.token_hex(16)), began + timedelta(seconds=number)
            tx.sessions.create(
                Session(id=session_id, owner=owner, title="", created_at=now, updated_at=now)
            )
            lease = tx.sessions.acquire(owner, session_id, TurnId(secrets.token_hex(16)))
            for role in (Author.USER, Author.ASSISTANT):
                tx.sessions.append(lease, role, "What is still open for Thursday?", ts=now)
            tx.sessions.release(lease)

    async with JsonFileStorage(data, UnsyncedFiles()) as storage:
        await storage.make_roles()
        for person in PEOPLE:
            await storage.transact(lambda tx, person=person: tx.users.add(user(person)))
        await storage.transact(add)


async def pages(server: Server, rounds: int) -> float:
    """The median of one page for each user, round after round, in seconds."""
    took = []
    async with aiohttp.ClientSession() as http:
        for number in range(rounds * USERS):
            bearer = f"Bearer {token(PEOPLE[number % USERS])}"
            began = time.perf_counter()
            async with http.get(
                f"{server.url}/sessions", headers={"X-API-Key": KEY, "Authorization": bearer}
            ) as answer:
                page = await answer.json()
            took.append(time.perf_counter() - began)
            assert len(page["sessions"]) > 1, page
            assert page["next"], page
    return statistics.median(took[USERS:] or took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(fill(folder / "data"))
        with (
            provider(folder) as upstream,
            started("service", ["-m", "chatbot"], folder,
                    **environment(upstream, folder / "data")) as server,
        ):  # fmt: skip
            ms = asyncio.run(pages(server, options.rounds)) * 1000
    what = f"first page of {SESSIONS_EACH * USERS:,} sessions of {USERS} users"
    print(table([Figure(what=what, value=ms, target=20, unit=" ms")]))


if __name__ == "__main__":
    main()
