"""CPU of a whole turn on each store, beside a bare endpoint in the same run.

Server CPU (user + system) per turn, 16 at once. The turn is authenticated by key and token, and
stored; the bare endpoint sends the same ten messages and stores nothing. Both talk to the same
provider on loopback, which answers a stream in some 50 pieces. Memory is off, as the bare endpoint
makes none, except in the rows "with memory": these have the default settings, which extract after
every third turn and summarise after every fourth, each with a model call and a durable write of
its own.

Rounds are interleaved. A figure is the median of its rounds, a ratio the median of the ratios of
measurements that were made one after the other. What a Postgres server uses comes on top.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from harness import (
    HERE,
    HISTORY_MESSAGES,
    LONG_MESSAGES,
    MEMORY_OFF,
    TEXT,
    Ask,
    Figure,
    Server,
    bare,
    environment,
    fill,
    first_turns,
    measure,
    new_sessions,
    provider,
    started,
    table,
    turn,
)
from stores import stores

SERVICE = ["-m", "chatbot"]
BARE, BARE_STREAM = "bare endpoint", "bare endpoint, stream"
STORES = ("memory", "JSON", "SQLite", "Postgres")
Cases = dict[str, tuple[Server, Ask]]
Rounds = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turns", type=int, default=128, help="a round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        first = options.turns * (options.rounds + 1)
        cases = start(Path(folder), stack, first)
        found: Rounds = {name: [] for name in cases}
        for number in range(options.rounds + 1):
            for name, (server, ask) in cases.items():
                cpu_ms = asyncio.run(measure(server, ask, options.turns))
                if number:  # the first round warms up
                    found[name].append(cpu_ms)
    print(table(list(figures(found))))


def start(folder: Path, stack: ExitStack, unused: int) -> Cases:
    """Everything that is measured; `unused` is how many sessions are to get their first turn."""
    upstream = stack.enter_context(provider(folder))
    roles = ("user", "assistant")
    history = [{"role": roles[n % 2], "content": TEXT} for n in range(HISTORY_MESSAGES)]
    environ = {"OPENAI_BASE_URL": f"{upstream.url}/v1", "BENCH_HISTORY": json.dumps(history)}
    endpoint = stack.enter_context(
        started("bare", [str(HERE / "bare_endpoint.py")], folder, **environ)
    )
    cases = {
        BARE: (endpoint, bare(endpoint, "/chat")),
        BARE_STREAM: (endpoint, bare(endpoint, "/stream")),
    }
    for store, url in stack.enter_context(stores(folder)).items():
        cases |= on_store(store, url, folder, environment(upstream, url), stack)
        if store == "JSON":
            fresh = asyncio.run(fill(url, HISTORY_MESSAGES, sessions=unused))
            server, _ = cases["JSON, 10 messages"]
            cases["JSON, first turns of sessions"] = (server, first_turns(server, fresh))
    return cases


def on_store(
    store: str, url: str, folder: Path, settings: dict[str, str], stack: ExitStack
) -> Cases:
    """Turns on this store: in JSON and streamed, of short and of long sessions, with memory."""
    lean = started(store, SERVICE, folder, **settings, **MEMORY_OFF)
    if store == "memory":  # nobody fills it from outside, so that nobody has a user there
        server = stack.enter_context(lean)
        sessions = asyncio.run(new_sessions(server))
        return {f"{store}, 10 messages": (server, turn(server, sessions, has_user=False))}
    short, remembered, long = (
        asyncio.run(fill(url, messages))
        for messages in (HISTORY_MESSAGES, HISTORY_MESSAGES, LONG_MESSAGES)
    )
    server = stack.enter_context(lean)
    whole = stack.enter_context(started(f"{store}-whole", SERVICE, folder, **settings))
    return {
        f"{store}, 10 messages": (server, turn(server, short)),
        f"{store}, 5,000 messages": (server, turn(server, long)),
        f"{store}, stream": (server, turn(server, short, stream=True)),
        f"{store}, with memory": (whole, turn(whole, remembered)),
    }


def figures(found: Rounds) -> Iterator[Figure]:
    def ratio(one: str, other: str, target: float | None = None) -> Figure:
        pairs = zip(found[one], found[other], strict=True)
        value = statistics.median(mine / theirs for mine, theirs in pairs)
        return Figure(what=f"{one} / {other}", value=value, target=target)

    for name, rounds in found.items():
        yield Figure(what=f"CPU a turn: {name}", value=statistics.median(rounds), unit=" ms")
    for store in STORES:
        target = {"JSON": 0.48, "SQLite": 0.42, "Postgres": 0.42}.get(store)
        yield ratio(f"{store}, 10 messages", BARE, target)
    for store in STORES[1:]:
        yield ratio(f"{store}, with memory", BARE, 0.6)
    for store in STORES[1:]:
        yield ratio(f"{store}, stream", BARE_STREAM, 0.2)
    for store in STORES[1:]:
        yield ratio(f"{store}, 5,000 messages", f"{store}, 10 messages", 1.1)
    yield ratio("JSON, first turns of sessions", "JSON, 10 messages", 1.2)


if __name__ == "__main__":
    main()
