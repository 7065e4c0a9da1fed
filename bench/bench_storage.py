"""Acknowledged appends a second, and the CPU of one, beside what the disk can do at all.

Each store in sessions of 10, 1,000 and 5,000 messages, by one caller and by 32 at once, each of
them on sessions of its own. The disk alone appends 700 bytes and syncs them (`fdatasync`): in one
file, one after the other, and in 32 files by 32 threads. It has its turn before each store, so
that a ratio compares neighbours. Medians of interleaved rounds. CPU is that of this process with
all its threads: what a Postgres server uses comes on top.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread

from harness import USER, Figure, table
from stores import conversation, put, settings_of, stores

from chatbot.domain.chat import (
    Lease,
    Message,
    MessageRole,
    SessionId,
    TurnId,
)
from chatbot.domain.identity import Owner
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import build_storage, utc_now

CALLERS = 32
SIZES = (10, 1000, 5000)
CONTENT = "What is still open for the report? " * 16
LINE = b"x" * 699 + b"\n"
"""As long as such a message is in the JSON store's log."""
OWNER = Owner(kind="user", id=USER)


@dataclass
class Rounds:
    """What was found of one store with so many callers: by messages in a session, and the disk."""

    per_s: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu_us: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    disk: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def row(self, who: str) -> str:
        sizes = [
            f"{statistics.median(self.per_s[size]):,.0f} /s, {statistics.median(self.cpu_us[size]):.0f} us"
            for size in SIZES
        ]
        return f"| {who} | {' | '.join(sizes)} |"

    def growth(self) -> float:
        short, *_, long = (self.cpu_us[size] for size in SIZES)
        return statistics.median(b / a for a, b in zip(short, long, strict=True))

    def of_disk(self, files: int) -> float:
        pairs = zip(self.per_s[SIZES[-1]], self.disk[files], strict=True)
        return statistics.median(store / disk for store, disk in pairs)


Found = dict[tuple[str, int], Rounds]  # by store and callers


async def measure(
    storage: Storage, sessions: list[SessionId], callers: int, count: int
) -> tuple[float, float]:
    """Appends a second, and CPU microseconds of one."""
    turn = TurnId("c" * 32)
    held = await storage.transact(
        lambda tx: [tx.sessions.acquire(OWNER, session_id, turn) for session_id in sessions]
    )
    work = [append(storage, held[n::callers], count // callers) for n in range(callers)]
    with ExitStack() as stack:
        for lease in held:
            stack.enter_context(storage.renewing(lease))
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*work)
        cpu_s, took = time.process_time() - cpu, time.perf_counter() - began
    for lease in held:  # one by one, as turns do: renewing goes over all of them
        await storage.transact(partial(release, lease))
    return count / took, cpu_s * 1e6 / count


async def append(storage: Storage, held: list[Lease], count: int) -> None:
    """One caller's messages, one after the other, to its sessions in turn."""
    for number in range(count):
        lease = held[number % len(held)]
        said = Message(role=MessageRole.USER, content=CONTENT, ts=utc_now(), turn_id=lease.turn_id)
        await storage.transact(partial(add, lease, said))


def add(lease: Lease, message: Message, tx: Transaction) -> None:
    tx.sessions.append(lease, message)


def release(lease: Lease, tx: Transaction) -> None:
    tx.sessions.release(lease)


def disk_alone(folder: Path, files: int, count: int) -> float:
    """Appends a second to so many files, with a thread for each."""
    paths = [folder / f"disk-{number}" for number in range(files)]
    threads = [Thread(target=append_synced, args=(path, count // files)) for path in paths]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.perf_counter() - began)


def append_synced(path: Path, count: int) -> None:
    sync = getattr(os, "fdatasync", os.fsync)  # Windows and macOS have fsync only
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(count):
        os.write(fd, LINE)
        sync(fd)
    os.close(fd)


async def run(urls: dict[str, str], folder: Path, rounds: int, count: int) -> Found:
    found = {(name, callers): Rounds() for name in urls for callers in (1, CALLERS)}
    async with AsyncExitStack() as stack:
        opened = {
            name: await stack.enter_async_context(build_storage(settings_of(url)))
            for name, url in urls.items()
        }
        long = {
            (name, size): await add_sessions(storage, urls[name], size)
            for name, storage in opened.items()
            for size in SIZES[1:]
        }
        if sys.platform != "win32":
            os.sync()
        for number in range(rounds + 1):
            for (name, callers), case in found.items():
                into = case if number else Rounds()  # the first round warms up
                for files in (1, CALLERS):
                    into.disk[files].append(disk_alone(folder, files, count))
                for size in SIZES:  # new short ones each time; the long ones grow by little
                    sessions = long.get((name, size)) or await add_sessions(
                        opened[name], urls[name], size
                    )
                    many = count * 8 if name == "memory" else count  # it takes microseconds
                    per_s, cpu_us = await measure(opened[name], sessions, callers, many)
                    into.per_s[size].append(per_s)
                    into.cpu_us[size].append(cpu_us)
    return found


async def add_sessions(storage: Storage, url: str, messages: int) -> list[SessionId]:
    added = (conversation(OWNER, messages, CONTENT, at=utc_now()) for _ in range(CALLERS))
    return await put(storage, url, added)


def name_of(store: str, callers: int) -> str:
    return f"{store}, {'one caller' if callers == 1 else f'{callers} at once'}"


def rates(found: Found) -> str:
    """Appends a second and CPU of one, for each length of a session."""
    sizes = [f"{size:,} messages" for size in SIZES]
    head = [f"| appends | {' | '.join(sizes)} |", "|---" * (len(SIZES) + 1) + "|"]
    return "\n".join(head + [case.row(name_of(*who)) for who, case in found.items()])


def figures(found: Found) -> Iterator[Figure]:
    for files, what in ((1, "one file"), (CALLERS, f"{CALLERS} files at once")):
        alone = [each for case in found.values() for each in case.disk[files]]
        yield Figure(what=f"the disk alone, {what}", value=statistics.median(alone), unit=" /s")
    for (store, callers), case in found.items():
        who, is_ours = name_of(store, callers), store in ("JSON", "SQLite")
        yield Figure(what=f"{who}: CPU, 5,000 / 10 messages", value=case.growth(), target=1.15)
        if store != "memory":
            yield Figure(
                what=f"{who} / the disk alone, one file", value=case.of_disk(1),
                target=0.5 if is_ours else None, at_least=True,
            )  # fmt: skip
        if store != "memory" and callers > 1:
            what = f"{who} / the disk alone, {CALLERS} files at once"
            yield Figure(what=what, value=case.of_disk(CALLERS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--appends", type=int, default=512, help="of each case in a round")
    parser.add_argument("--stores", nargs="+", help="only these, as `JSON SQLite`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, stores(Path(name)) as urls:
        chosen = {each: urls[each] for each in options.stores or urls}
        found = asyncio.run(run(chosen, Path(name), options.rounds, options.appends))
    print(rates(found), table(list(figures(found))), sep="\n\n")


if __name__ == "__main__":
    main()
