"""What the benchmarks share: real servers on loopback, filled stores, and clients."""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import aiohttp
import psutil  # type: ignore[import-untyped] # its stubs are not in the lock
from stores import conversation, put, settings_of

from chatbot.adapters.security.jose_tokens import JoseTokens
from chatbot.domain.identity import ClientId, FamilyId, Owner, User, UserId
from chatbot.domain.sign_in import RefreshFamily
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import build_storage

HERE = Path(__file__).resolve().parent
AT_ONCE = 16
HISTORY_MESSAGES = 10
LONG_MESSAGES = 5000
TEXT = "The quarterly report needs the figures of the northern branch by Thursday noon. " * 3
PROMPT = "Please tell me in a few words what is still open for the report of this quarter. " * 3
USER = UserId("b" * 32)
KEY, JWT_SECRET = secrets.token_hex(20), secrets.token_hex(24)
_CPUCLOCK_SCHED = 2
_REST_S, _IDLE_CPU_S = 0.02, 0.001

MEMORY_OFF = {
    "MEM_SUMMARIZE_THRESHOLD": "0",
    "MEM_WINDOW_MESSAGES": str(HISTORY_MESSAGES + 1),
    "MEM_STRUCTURED_ENABLE": "false",
}


def cpu_s_of(process: psutil.Process) -> float:
    """The CPU time of a process and its threads; on Linux to the nanosecond.

    psutil counts ticks of 10 ms. Linux has the scheduler's own clock for each process
    (`clock_getcpuclockid` of POSIX, which Python does not have; bits as in the kernel's
    `include/linux/posix-timers_types.h`).
    """
    if sys.platform == "linux":
        return time.clock_gettime((~process.pid << 3) | _CPUCLOCK_SCHED)
    times = process.cpu_times()
    return float(times.user + times.system)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A process that listens."""

    url: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """The CPU time of the process tree."""
        return sum(map(cpu_s_of, self._tree()))

    def pss_mib(self) -> float:
        """The memory of the process tree; what processes share is divided among them."""
        return sum(float(process.memory_full_info().pss) for process in self._tree()) / 2**20

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What was measured, and what it may be at most (or, with `at_least`, must be)."""

    what: str
    value: float
    target: float | None = None
    unit: str = ""
    at_least: bool = False

    def row(self) -> str:
        found = f"{self.value:.2f}{self.unit}"
        if self.target is None:
            return f"| {self.what} | {found} | | |"
        held = self.value >= self.target if self.at_least else self.value <= self.target
        bound = "at least" if self.at_least else "at most"
        return f"| {self.what} | {found} | {bound} {self.target:g}{self.unit} | {'held' if held else 'MISSED'} |"


def table(figures: list[Figure]) -> str:
    head = ["| what | figure | target | |", "|---|---|---|---|"]
    return "\n".join([*head, *(figure.row() for figure in figures)])


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


@contextmanager
def provider(folder: Path) -> Iterator[Server]:
    """A stand-in for an OpenAI-compatible provider, in its own process."""
    program = str(HERE / "assistant_provider.py")
    with started("provider", [program, "--port", "{port}"], folder) as server:
        yield server


def environment(upstream: Server, url: str) -> dict[str, str]:
    """The settings of a service that asks that provider."""
    return {
        "API_KEY": KEY,
        "JWT_SECRET": JWT_SECRET,
        "GENKIT_MODEL": "openai/bench",
        "LOG_FORMAT": "json",
        "MODEL_MAX_CONCURRENT": str(4 * AT_ONCE),  # one client may have a quarter
        "MAX_STREAMS_PER_USER": str(AT_ONCE),
        "RATE_LIMIT_PER_MINUTE": "0",
        "OPENAI_BASE_URL": f"{upstream.url}/v1",
        "STORAGE_URL": url,
    }


def user(user_id: UserId, password_hash: str = "none") -> User:
    return User(
        id=user_id, email=f"{user_id}@example.com", password_hash=password_hash,
        roles=("employee",), department="bench", created_at=datetime.now(UTC),
    )  # fmt: skip


def add(tx: Transaction, person: User) -> None:
    """Add a user who is signed in, as `token` says."""
    tx.users.add(person)
    now = datetime.now(UTC)
    tx.refresh_families.add(
        RefreshFamily(
            id=FamilyId(person.id),
            user_id=person.id,
            client_id=ClientId("default"),
            number=1,
            renewed_at=now,
            expires_at=now + timedelta(days=14),
            token_stamp=person.token_stamp,
        )
    )


async def fill(url: str, messages: int, *, sessions: int = AT_ONCE) -> list[str]:
    """Make sessions with so many messages; as a rule, one for each client that asks at once."""
    owner, now = Owner(kind="user", id=USER), datetime.now(UTC)
    async with build_storage(settings_of(url)) as storage:
        if await storage.transact(lambda tx: tx.users.by_id(USER)) is None:
            await storage.transact(partial(add, person=user(USER)))
        said = (conversation(owner, messages, TEXT, at=now) for _ in range(sessions))
        return list(await put(storage, url, said))


def token(user_id: UserId = USER) -> str:
    now = datetime.now(UTC)
    tokens = JoseTokens(JWT_SECRET, ttl_s=3600, clock=lambda: datetime.now(UTC))
    return tokens.issue(user(user_id), family_id=FamilyId(user_id), token_id="1", at=now)


Ask = Callable[[aiohttp.ClientSession, int], Awaitable[None]]


def bare(server: Server, path: str) -> Ask:
    async def ask(http: aiohttp.ClientSession, _: int) -> None:
        async with http.post(f"{server.url}{path}", json={"prompt": PROMPT}) as answer:
            body = await answer.read()
            assert answer.status == 200, body

    return ask


async def new_sessions(server: Server) -> list[str]:
    """One empty session for each client that asks at once, of the API key's client."""
    found = []
    async with aiohttp.ClientSession(headers={"X-API-Key": KEY}) as http:
        for _ in range(AT_ONCE):
            async with http.post(f"{server.url}/sessions/new") as answer:
                found.append((await answer.json())["session_id"])
    return found


def turn(
    server: Server, sessions: list[str], *, stream: bool = False, has_user: bool = True
) -> Ask:
    headers = {"X-API-Key": KEY}
    if has_user:
        headers["Authorization"] = f"Bearer {token()}"
    if stream:
        headers["Accept"] = "text/event-stream"

    async def ask(http: aiohttp.ClientSession, number: int) -> None:
        body = {"prompt": PROMPT, "session_id": sessions[number]}
        async with http.post(f"{server.url}/chat", json=body, headers=headers) as answer:
            got = await answer.read()
            assert answer.status == 200, got
            assert not stream or b"event: done" in got, got

    return ask


def first_turns(server: Server, sessions: list[str]) -> Ask:
    """Turns of which each is the first of its session in the life of the server."""
    unused = iter(sessions)

    async def ask(http: aiohttp.ClientSession, _: int) -> None:
        await turn(server, [next(unused)])(http, 0)

    return ask


async def measure(server: Server, ask: Ask, turns: int) -> float:
    """CPU milliseconds per turn, over so many turns, 16 at once, with what they leave to be done."""
    async with aiohttp.ClientSession() as http:
        before = await cpu_s_at_rest(server)
        work = [one_client(http, ask, number, turns // AT_ONCE) for number in range(AT_ONCE)]
        await asyncio.gather(*work)
        return (await cpu_s_at_rest(server) - before) * 1000 / turns


async def cpu_s_at_rest(server: Server) -> float:
    """The CPU time of a server once it does nothing more."""
    used = server.cpu_s()
    while True:
        await asyncio.sleep(_REST_S)
        before, used = used, server.cpu_s()
        if used - before < _IDLE_CPU_S:
            return used


async def one_client(http: aiohttp.ClientSession, ask: Ask, number: int, turns: int) -> None:
    for _ in range(turns):
        await ask(http, number)
