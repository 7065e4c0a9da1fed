"""CPU of a whole turn, beside a bare endpoint in the same run: `make bench`.

Server CPU (user + system) per turn, 16 at once, medians of interleaved rounds. The turn is
authenticated by key and token, and stored; the bare endpoint sends the same ten messages and
stores nothing. Both talk to the same provider on loopback. Memory is off in the service, as the
bare endpoint makes none; its cost is the last row.
"""

import argparse
import asyncio
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import psutil

from chatbot.adapters.security.jose_tokens import JoseTokens
from chatbot.adapters.storage.json_files.files import Files
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import Author, Session, SessionId, TurnId
from chatbot.domain.identity import Owner, User, UserId
from chatbot.domain.ports.security import Claims
from chatbot.domain.ports.storage import Transaction

HERE = Path(__file__).resolve().parent
AT_ONCE = 16
HISTORY_MESSAGES = 10
LONG_MESSAGES = 5000
TEXT = "The quarterly report needs the figures of the northern branch by Thursday noon. " * 3
PROMPT = "Please tell me in a few words what is still open for the report of this quarter. " * 3
USER = UserId("b" * 32)
KEY, JWT_SECRET = secrets.token_hex(20), secrets.token_hex(24)
MEMORY_OFF = {
    "MEM_SUMMARIZE_THRESHOLD": "0",
    "MEM_WINDOW_MESSAGES": str(HISTORY_MESSAGES + 1),
    "MEM_STRUCTURED_ENABLE": "false",
}


class UnsyncedFiles(Files):
    """For filling a store quickly: nothing is synced."""

    def sync(self, fd: int) -> None:
        """Leave it to the system."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A process that listens."""

    url: str
    process: psutil.Process

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def started(name: str, command: list[str], cwd: Path, **environment: str) -> Iterator[Server]:
    port = free_port()
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("GENKIT", "OPENAI"))}
    with (cwd / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *[part.format(port=port) for part in command]],
            cwd=cwd,
            env={**environ, **environment, "PORT": str(port)},
            stdout=log,
            stderr=log,
        )
    try:
        asyncio.run(listening(port))
        yield Server(url=f"http://127.0.0.1:{port}", process=psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(20)


async def listening(port: int) -> None:
    for _ in range(1200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise TimeoutError(f"nothing listens on {port}")


async def fill(data: Path, messages: int) -> list[str]:
    """One session for each client that asks at once, with so many messages."""
    now, owner = datetime.now(UTC), Owner(kind="user", id=USER)
    user = User(
        id=USER, email="bench@example.com", password_hash="none", roles=("employee",),
        department="bench", created_at=now,
    )  # fmt: skip

    def one(tx: Transaction) -> str:
        session_id = SessionId(secrets.token_hex(16))
        tx.sessions.create(
            Session(id=session_id, owner=owner, title="", created_at=now, updated_at=now)
        )
        lease = tx.sessions.acquire(owner, session_id, TurnId(secrets.token_hex(16)))
        for number in range(messages):
            role = Author.ASSISTANT if number % 2 else Author.USER
            tx.sessions.append(lease, role, TEXT, ts=now)
        tx.sessions.release(lease)
        return session_id

    async with JsonFileStorage(data, UnsyncedFiles()) as storage:
        await storage.make_roles()
        if await storage.transact(lambda tx: tx.users.by_id(USER)) is None:
            await storage.transact(lambda tx: tx.users.add(user))
        return [await storage.transact(one) for _ in range(AT_ONCE)]


def token() -> str:
    tokens = JoseTokens(
        JWT_SECRET,
        ttl_s=3600,
        clock=lambda: datetime.now(UTC),
        new_id=lambda: secrets.token_hex(16),
    )
    claims = Claims(user_id=USER, token_version=0)
    return tokens.issue(claims, roles=("employee",), department="bench")


Ask = Callable[[aiohttp.ClientSession, int], Awaitable[int]]


def bare(server: Server, path: str) -> Ask:
    async def ask(http: aiohttp.ClientSession, _: int) -> int:
        async with http.post(f"{server.url}{path}", json={"prompt": PROMPT}) as answer:
            body = await answer.read()
            assert answer.status == 200, body
            return body.count(b"\n\n")

    return ask


def turn(server: Server, sessions: list[str], *, stream: bool = False) -> Ask:
    headers = {"X-API-Key": KEY, "Authorization": f"Bearer {token()}"}
    if stream:
        headers["Accept"] = "text/event-stream"

    async def ask(http: aiohttp.ClientSession, number: int) -> int:
        body = {"prompt": PROMPT, "session_id": sessions[number]}
        async with http.post(f"{server.url}/chat", json=body, headers=headers) as answer:
            got = await answer.read()
            assert answer.status == 200, got
            return got.count(b"event: delta")

    return ask


async def measure(server: Server, ask: Ask, turns: int) -> tuple[float, float]:
    """CPU milliseconds per turn and per streamed piece, over so many turns, 16 at once."""
    async with aiohttp.ClientSession() as http:
        before = server.cpu_s()
        work = [one_client(http, ask, number, turns // AT_ONCE) for number in range(AT_ONCE)]
        pieces = sum(await asyncio.gather(*work))
        used = (server.cpu_s() - before) * 1000
    return used / turns, used / max(pieces, 1)


async def one_client(http: aiohttp.ClientSession, ask: Ask, number: int, turns: int) -> int:
    return sum([await ask(http, number) for _ in range(turns)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turns", type=int, default=160, help="a round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        print(run(Path(folder), stack, options.rounds, options.turns))


def run(folder: Path, stack: ExitStack, rounds: int, turns: int) -> str:
    provider = stack.enter_context(
        started(
            "provider", [str(HERE.parent / "tests" / "provider.py"), "--port", "{port}"], folder
        )
    )
    roles = ("user", "assistant")
    history = [{"role": roles[n % 2], "content": TEXT} for n in range(HISTORY_MESSAGES)]
    base = {"OPENAI_BASE_URL": f"{provider.url}/v1", "BENCH_HISTORY": json.dumps(history)}
    service = {
        "API_KEY": KEY,
        "JWT_SECRET": JWT_SECRET,
        "GENKIT_MODEL": "openai/bench",
        "LOG_FORMAT": "json",
        "STORAGE_URL": f"json:{folder / 'data'}",
    }
    short = asyncio.run(fill(folder / "data", HISTORY_MESSAGES))
    long = asyncio.run(fill(folder / "data", LONG_MESSAGES))
    remembered = asyncio.run(fill(folder / "data", HISTORY_MESSAGES))
    endpoint = stack.enter_context(
        started("bare", [str(HERE / "bare_endpoint.py")], folder, **base)
    )
    lean = stack.enter_context(
        started("lean", ["-m", "chatbot"], folder, **base, **service, **MEMORY_OFF)
    )
    whole = stack.enter_context(started("whole", ["-m", "chatbot"], folder, **base, **service))
    cases: dict[str, tuple[Server, Ask]] = {
        "bare endpoint": (endpoint, bare(endpoint, "/chat")),
        "turn, 10 messages": (lean, turn(lean, short)),
        "turn, 5,000 messages": (lean, turn(lean, long)),
        "bare endpoint, stream": (endpoint, bare(endpoint, "/stream")),
        "turn, stream": (lean, turn(lean, short, stream=True)),
        "turn, 10 messages, with memory": (whole, turn(whole, remembered)),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, (server, ask) in cases.items():
            figures = asyncio.run(measure(server, ask, turns))
            if number:  # the first round warms up
                found[name].append(figures)
    return table(found)


def table(found: dict[str, list[tuple[float, float]]]) -> str:
    per_turn = {name: statistics.median(turn for turn, _ in rows) for name, rows in found.items()}
    per_piece = {
        name: statistics.median(piece for _, piece in rows) for name, rows in found.items()
    }
    lines = ["| case | CPU ms a turn | CPU ms a piece |", "|---|---|---|"]
    for name in found:
        piece = f"{per_piece[name]:.3f}" if "stream" in name else ""
        lines.append(f"| {name} | {per_turn[name]:.2f} | {piece} |")
    ratio = per_turn["turn, 10 messages"] / per_turn["bare endpoint"]
    length = per_turn["turn, 5,000 messages"] / per_turn["turn, 10 messages"]
    stream = per_piece["turn, stream"] / per_piece["bare endpoint, stream"]
    lines += ["", f"turn / bare endpoint: {ratio:.2f} (target: 0.60 at most)"]
    lines += [f"5,000 / 10 messages: {length:.2f} (target: 1.15 at most)"]
    lines += [f"streamed piece / bare endpoint: {stream:.2f} (target: 0.40 at most)"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
