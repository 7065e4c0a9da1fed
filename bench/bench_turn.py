"""CPU of a whole turn, beside a bare endpoint in the same run.

Server CPU (user + system) per turn, 16 at once, medians of interleaved rounds. The turn is
authenticated by key and token, and stored; the bare endpoint sends the same ten messages and
stores nothing. Both talk to the same provider on loopback, which answers a stream in some 50
pieces. Memory is off in the service, as the bare endpoint makes none; its cost is the last row.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rig import (
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
    measure,
    provider,
    started,
    table,
    turn,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turns", type=int, default=160, help="a round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        cases = start(Path(folder), stack)
        found: dict[str, list[float]] = {name: [] for name in cases}
        for number in range(options.rounds + 1):
            for name, (server, ask) in cases.items():
                cpu_ms = asyncio.run(measure(server, ask, options.turns))
                if number:  # the first round warms up
                    found[name].append(cpu_ms)
    print(table(figures({name: statistics.median(rows) for name, rows in found.items()})))


def start(folder: Path, stack: ExitStack) -> dict[str, tuple[Server, Ask]]:
    upstream, data = stack.enter_context(provider(folder)), folder / "data"
    roles = ("user", "assistant")
    history = [{"role": roles[n % 2], "content": TEXT} for n in range(HISTORY_MESSAGES)]
    settings = environment(upstream, data)
    short = asyncio.run(fill(data, HISTORY_MESSAGES))
    long = asyncio.run(fill(data, LONG_MESSAGES))
    remembered = asyncio.run(fill(data, HISTORY_MESSAGES))
    endpoint = stack.enter_context(
        started("bare", [str(HERE / "bare_endpoint.py")], folder,
                OPENAI_BASE_URL=settings["OPENAI_BASE_URL"], BENCH_HISTORY=json.dumps(history))
    )  # fmt: skip
    command = ["-m", "chatbot"]
    lean = stack.enter_context(started("lean", command, folder, **settings, **MEMORY_OFF))
    whole = stack.enter_context(started("whole", command, folder, **settings))
    return {
        "bare endpoint": (endpoint, bare(endpoint, "/chat")),
        "turn, 10 messages": (lean, turn(lean, short)),
        "turn, 5,000 messages": (lean, turn(lean, long)),
        "bare endpoint, stream": (endpoint, bare(endpoint, "/stream")),
        "turn, stream": (lean, turn(lean, short, stream=True)),
        "turn, 10 messages, with memory": (whole, turn(whole, remembered)),
    }


def figures(median: dict[str, float]) -> list[Figure]:
    def ratio(what: str, one: str, other: str, target: float) -> Figure:
        return Figure(what=what, value=median[one] / median[other], target=target)

    return [
        *(Figure(what=f"CPU a turn: {name}", value=ms, unit=" ms") for name, ms in median.items()),
        ratio("turn / bare endpoint", "turn, 10 messages", "bare endpoint", 0.6),
        ratio("5,000 / 10 messages", "turn, 5,000 messages", "turn, 10 messages", 1.15),
        ratio("streamed piece / bare endpoint", "turn, stream", "bare endpoint, stream", 0.4),
    ]


if __name__ == "__main__":
    main()
