"""What the audit bears: events and log-ins a second in each store, and the check of its chain.

Log-ins are whole ones without the hash of the password, 32 at once, which is the most that a service
lets in: each has its event on the disk before its sign-in is stored. The check of a million
events is given in seconds of CPU time.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from harness import Figure, table
from stores import settings_of, stores

from chatbot.application.audit_queue import AuditQueue
from chatbot.domain.audit import AUDIT, Action, AuditEvent
from chatbot.domain.audit_chain import StoredEvent
from chatbot.domain.audit_check import verified
from chatbot.domain.authorization import of_host
from chatbot.domain.ports.export import Unreadable
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.container.parts import build_storage
from chatbot.entrypoints.storage_backends import backend_of
from sign_in import KEY, SignInService, auditing  # of the tests

USERS, LOGINS_AT_ONCE, EVENTS_AT_ONCE = 64, 32, 500
LEAST_EVENTS_PER_S, MOST_CHECK_S = 1000, 60
CHECKED = 1_000_000


async def rate(one: Callable[[int], Awaitable[object]], *, at_once: int, seconds: float) -> float:
    """How often a second this can be done, by so many callers at once."""
    count, began = 0, time.perf_counter()

    async def keep(number: int) -> None:
        nonlocal count
        while time.perf_counter() - began < seconds:
            await one(number)
            count += 1

    await asyncio.gather(*map(keep, range(at_once)))
    return count / (time.perf_counter() - began)


def sign_in_event(number: int) -> AuditEvent:
    return AuditEvent(action=Action.LOGIN, object_type="sign_in", object_id=f"{number:032x}")


async def rates(storage: Storage, seconds: float) -> tuple[float, float]:
    """Events and log-ins a second; no log-in lacks its event."""
    service, queue = (
        SignInService(storage),
        AuditQueue(storage, auditing(lambda: datetime.now(UTC))),
    )
    for number in range(USERS):
        await service.add(f"user{number}")
    logins = await rate(
        lambda number: service.login(f"user{number}@acme.es"),
        at_once=LOGINS_AT_ONCE,
        seconds=seconds,
    )
    events = await rate(
        lambda number: queue.note(of_host("bench"), sign_in_event(number)),
        at_once=EVENTS_AT_ONCE,
        seconds=seconds,
    )
    return events, logins


async def fill(storage: Storage, count: int) -> None:
    """Record so many events, a thousand in a transaction."""
    recorder, host = auditing(lambda: datetime.now(UTC)), of_host("bench")
    for first in range(0, count, 1000):
        events = [(host, sign_in_event(number)) for number in range(first, first + 1000)]
        await storage.transact(lambda tx, events=events: recorder.note_all(tx, events))  # type: ignore[misc] # the default


def check_s(url: str, count: int) -> float:
    """Seconds of CPU time of a check, as `chatbot audit verify` makes it."""
    parsed = settings_of(url).storage.url
    began = time.process_time()
    with backend_of(parsed).export(parsed) as export:
        found = verified(
            (
                StoredEvent(seq=e.seq, entry=None if isinstance(e, Unreadable) else e)
                for e in export.entries(AUDIT)
            ),
            [KEY],
        )
    assert found.count >= count, found.count
    assert not found.findings, found.findings[:3]
    return time.process_time() - began


async def of_store(name: str, url: str, options: argparse.Namespace) -> list[Figure]:
    async with build_storage(settings_of(url)) as storage:
        events, logins = await rates(storage, options.seconds)
        found = [
            Figure(
                what=f"{name}: events, {EVENTS_AT_ONCE} callers at once",
                value=events,
                target=LEAST_EVENTS_PER_S,
                unit=" /s",
                at_least=True,
            ),
            Figure(what=f"{name}: log-ins, {LOGINS_AT_ONCE} at once", value=logins, unit=" /s"),
        ]
        if name == "memory":
            return found
        await fill(storage, options.events)
    seconds = await asyncio.to_thread(check_s, url, options.events)
    what = f"{name}: check of {options.events:,} events, CPU"
    return [*found, Figure(what=what, value=seconds, target=MOST_CHECK_S, unit=" s")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="ignored: each figure is a mean")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each rate")
    parser.add_argument("--events", type=int, default=CHECKED, help="to check, in thousands")
    parser.add_argument("--stores", nargs="+", help="only these, such as JSON SQLite")
    options = parser.parse_args()
    found = list[Figure]()
    with tempfile.TemporaryDirectory() as folder, stores(Path(folder)) as urls:
        for name, url in urls.items():
            if options.stores is not None and name not in options.stores:
                continue
            found += asyncio.run(of_store(name, url, options))
    print(table(found))


if __name__ == "__main__":
    main()
