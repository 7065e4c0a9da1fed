"""What telemetry costs: CPU of a whole turn with it and without it, on each store.

Server CPU (user + system) per turn, 16 at once, authenticated by key and token. "On" exports every
trace and all metrics by OTLP to a collector in another process, and keeps metrics for Prometheus.
The services take turns, so that what else the machine does meets all of them; a difference is the
median of the differences of measurements that were made one after the other.

"Off" is what a turn then still runs: calls that do nothing, timed by themselves in this process.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from harness import (
    HERE,
    HISTORY_MESSAGES,
    MEMORY_OFF,
    Ask,
    Figure,
    Server,
    environment,
    fill,
    free_port,
    measure,
    new_sessions,
    provider,
    started,
    table,
    turn,
)
from stores import stores

from chatbot.domain.chat import SessionId
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Activity, current_trace

SERVICE = ["-m", "chatbot"]
OFF, ON, ON_STREAM, OFF_STREAM = "off", "on", "on, stream", "off, stream"
CALLS = 100_000
Cases = dict[str, tuple[Server, Ask]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--turns", type=int, default=256, help="a round")
    parser.add_argument("--stores", nargs="+", default=["memory", "JSON", "SQLite", "Postgres"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        cases = start(Path(folder), stack, options.stores)
        found: dict[str, list[float]] = {name: [] for name in cases}
        for number in range(options.rounds + 1):
            for name, (server, ask) in cases.items():
                cpu_ms = asyncio.run(measure(server, ask, options.turns))
                if number:  # the first round warms up
                    found[name].append(cpu_ms)
    print(table([*figures(found, options.stores), off()]))


def start(folder: Path, stack: ExitStack, wanted: list[str]) -> Cases:
    upstream = stack.enter_context(provider(folder))
    sink = [str(HERE / "otlp_sink.py"), "--port", "{port}"]
    collector = stack.enter_context(started("collector", sink, folder))
    cases: Cases = {}
    for store, url in stack.enter_context(stores(folder)).items():
        if store not in wanted:
            continue
        settings = {**environment(upstream, url), **MEMORY_OFF}
        telemetry = {
            "METRICS_PORT": str(free_port()),
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        }
        servers = {
            how: stack.enter_context(started(f"{store}-{how}", SERVICE, folder, **settings, **more))
            for how, more in ((OFF, {}), (ON, telemetry))
        }
        for how, server in servers.items():
            is_memory = store == "memory"  # nobody fills it from outside: there are no users
            sessions = asyncio.run(new_sessions(server) if is_memory else filled(url))
            for suffix, stream in (("", False), (", stream", True)):
                ask = turn(server, sessions, stream=stream, has_user=not is_memory)
                cases[f"{store}, {how}{suffix}"] = (server, ask)
    return dict(sorted(cases.items(), key=lambda case: case[0].replace("off", "on")))


async def filled(url: str) -> list[str]:
    return await fill(url, HISTORY_MESSAGES)


def figures(found: dict[str, list[float]], wanted: list[str]) -> Iterator[Figure]:
    for name, rounds in found.items():
        yield Figure(what=f"CPU a turn: {name}", value=statistics.median(rounds), unit=" ms")
    for store in wanted:
        for off_name, on_name, target in ((OFF, ON, 0.15), (OFF_STREAM, ON_STREAM, None)):
            pairs = zip(found[f"{store}, {on_name}"], found[f"{store}, {off_name}"], strict=True)
            value = statistics.median(with_it - without for with_it, without in pairs)
            what = f"what a turn costs more: {store}, {on_name}"
            yield Figure(what=what, value=value, target=target, unit=" ms")


def off() -> Figure:
    """The calls of a turn that report nothing."""
    session_id = SessionId("0" * 32)

    def report() -> None:
        with NO_TELEMETRY.in_session(session_id), NO_TELEMETRY.during(Activity.PROMPT):
            current_trace.get()

    value = cpu_ms_of(report) - cpu_ms_of(lambda: None)
    return Figure(what="what a turn costs more: off", value=value, target=0.02, unit=" ms")


def cpu_ms_of(call: Callable[[], None]) -> float:
    began = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - began) * 1000 / CALLS


if __name__ == "__main__":
    main()
