"""Whether the time of a search tells that there are documents which the caller may not read.

The same 4,000 passages are searched in a store without anything else, and in one with 20,000 forbidden
passages, in turn. The results are compared byte by byte, the times by a Mann-Whitney test.
"""

import argparse
import asyncio
import math
import random
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from filled_index import FilledIndex
from harness import Figure, table
from stores import made, settings_of

from chatbot.domain.search import Scope
from chatbot.entrypoints.container.parts import build_storage

PERMITTED, FORBIDDEN = 2, 10
DOCUMENTS, PASSAGES, LIMIT = 100, 20, 10
LEAST_P = 0.01


async def fill(filled: FilledIndex, *, with_forbidden: bool) -> None:
    """Index the permitted classes, and forbidden ones after them, with the same words."""
    for number in range(PERMITTED + (FORBIDDEN if with_forbidden else 0)):
        atom = "public" if number < PERMITTED else "user:other"
        audiences = {Scope(f"class {number}"): {atom}}
        await filled.add_classes(audiences, documents=DOCUMENTS, passages=PASSAGES)


async def search(filled: FilledIndex, question: str) -> tuple[float, str]:
    """Returns the seconds that a search took, and its results."""
    began = time.perf_counter()
    hits = await filled.searcher.documents({"public"}, question, limit=LIMIT)
    return time.perf_counter() - began, repr(hits)


async def compared(folder: Path, rounds: int) -> list[Figure]:
    async with AsyncExitStack() as stack:
        stores = {}
        for with_forbidden in (False, True):
            url = made(f"sqlite:///{folder / str(with_forbidden)}.db")
            storage = await stack.enter_async_context(build_storage(settings_of(url)))
            filled = stores[with_forbidden] = FilledIndex(storage, questions=8)
            await fill(filled, with_forbidden=with_forbidden)
        return figures(await measured(stores, stores[False].questions, rounds))


async def measured(
    stores: Mapping[bool, FilledIndex], questions: Sequence[str], rounds: int
) -> Mapping[bool, Sequence[float]]:
    """Returns the seconds of searches in both stores, in random order; the first ones do not count."""
    took: dict[bool, list[float]] = {True: [], False: []}
    order = random.Random(5)
    for number in range(100 * rounds):
        question = questions[number % len(questions)]
        found = {key: await search(stores[key], question) for key in order.sample([True, False], 2)}
        assert found[True][1] == found[False][1], question
        for key, (seconds, _) in found.items():
            took[key].append(seconds)
        await stores[True].searcher.tidier.idle()
        await stores[False].searcher.tidier.idle()
    return {key: seconds[len(questions) :] for key, seconds in took.items()}


def figures(took: Mapping[bool, Sequence[float]]) -> list[Figure]:
    ratio = statistics.median(took[True]) / statistics.median(took[False])
    count = len(took[True])
    return [
        Figure(what=f"time with forbidden passages / without, {count} searches each", value=ratio),
        Figure(
            what="probability of such a difference by chance (Mann-Whitney)",
            value=mann_whitney(took[True], took[False]),
            target=LEAST_P,
            at_least=True,
        ),
    ]


def mann_whitney(one: Sequence[float], other: Sequence[float]) -> float:
    """Returns the two-sided probability, by the normal approximation; ties hardly ever occur."""
    ranked = sorted([(seconds, True) for seconds in one] + [(seconds, False) for seconds in other])
    rank_sum = sum(rank for rank, (_, is_one) in enumerate(ranked, start=1) if is_one)
    n, m = len(one), len(other)
    mean = n * (n + m + 1) / 2
    z = (rank_sum - mean) / math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(z) / math.sqrt(2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(table(asyncio.run(compared(Path(folder), options.rounds))))


if __name__ == "__main__":
    main()
