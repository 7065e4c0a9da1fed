"""The search index: what a search of 100,000 passages costs, what a write costs, and what is found.

CPU is that of this process: threads that score and that ask the store included, a Postgres server not.
The recall in conversations of LoCoMo is measured if `--locomo` or CHATBOT_BENCH_LOCOMO names the file,
which is not part of the project.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import psutil  # type: ignore[import-untyped] # its stubs are not in the lock
from filled_index import FilledIndex, compact
from harness import Figure, table
from search_data import LocomoConversation, MadeTexts, locomo
from stores import settings_of, stores

from chatbot.adapters.search.records import record_of
from chatbot.adapters.search.searcher import Searcher
from chatbot.domain.identity import Owner
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Hit, Passage, Scope, messages_scope
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import build_storage
from chatbot.entrypoints.server.malloc import return_large_blocks

CLASSES, DOCUMENTS_A_CLASS, PASSAGES_A_DOCUMENT = 50, 100, 20
SESSIONS = 2500
SMALL_CLASSES, SMALL_PASSAGES = 5000, 10
TARGETS_MS = {3: 4, 12: 7, 50: 18}
LOCOMO = "CHATBOT_BENCH_LOCOMO"
LIMIT = 10
PERSON = Owner(kind="user", id="1" * 32)

Search = Callable[[str], Awaitable[Sequence[Hit]]]


async def cpu_ms(search: Search, questions: Sequence[str], rounds: int) -> float:
    """Returns the median CPU of a search, after one round that fills the caches."""
    for question in questions:
        await search(question)
    took = []
    for question in list(questions) * rounds:
        began = time.process_time()
        await search(question)
        took.append(time.process_time() - began)
    return statistics.median(took) * 1000


async def of_classes(name: str, url: str, rounds: int) -> list[Figure]:
    """100,000 passages of documents in 50 access classes, for callers of some of them."""
    found = []
    async with build_storage(settings_of(url)) as storage:
        filled = FilledIndex(storage, questions=200)
        for number in range(CLASSES):
            atoms = {f"first:{count}" for count in TARGETS_MS if number < count}
            scope = Scope(f"class {number:02}")
            await filled.add_classes(
                {scope: atoms}, documents=DOCUMENTS_A_CLASS, passages=PASSAGES_A_DOCUMENT
            )
            await storage.transact(partial(compact, scope))
        for count, target in TARGETS_MS.items():
            search = partial(filled.searcher.documents, {f"first:{count}"}, limit=LIMIT)
            ms = await cpu_ms(search, filled.questions, rounds)
            what = f"{name}: CPU of a search in {count} of {CLASSES} classes, 100,000 passages"
            found.append(Figure(what=what, value=ms, target=target, unit=" ms"))
        found += [memory_figure(name, url)]
        await filled.searcher.aclose()
    return found


def memory_figure(name: str, url: str) -> Figure:
    """What a process that has searched all classes uses more than before its first search."""
    asked = [sys.executable, str(Path(__file__).resolve()), "--loaded", url]
    ran = subprocess.run(asked, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    what = f"{name}: memory with 100,000 passages loaded, beside none"
    return Figure(what=what, value=float(ran.stdout), target=25, unit=" MiB")


async def loaded_mib(url: str) -> float:
    """Returns what searches add to the memory of this process."""
    made_texts = MadeTexts()
    process, texts = psutil.Process(), [made_texts.text(4, 9) for _ in range(50)]
    async with build_storage(settings_of(url)) as storage:
        searcher = Searcher(storage, lambda _, keys: dict.fromkeys(keys, "Nothing."))
        await searcher.texts(texts[0], {"one": [Passage(seq=1, text=texts[0])]}, limit=1)
        await searcher.documents({"nobody"}, texts[0], limit=LIMIT)
        return_large_blocks()  # as the service does
        before = process.memory_full_info().uss
        for text in texts:
            await searcher.documents({f"first:{CLASSES}"}, text, limit=LIMIT)
        after = process.memory_full_info().uss
        await searcher.aclose()
    return float(after - before) / 2**20


async def of_person(name: str, url: str, rounds: int) -> list[Figure]:
    """100,000 messages of one person."""
    async with build_storage(settings_of(url)) as storage:
        filled = FilledIndex(storage, questions=0)
        await filled.add_sessions(PERSON, SESSIONS)
        search = partial(filled.searcher.messages, PERSON, limit=LIMIT)
        ms = await cpu_ms(search, filled.questions, rounds)
        pair_ms = await write_ms(filled, rounds)
        await filled.searcher.aclose()
    return [
        Figure(
            what=f"{name}: CPU of a search in 100,000 messages of one person",
            value=ms,
            target=10,
            unit=" ms",
        ),
        Figure(what=f"{name}: CPU of indexing a pair of messages", value=pair_ms, unit=" ms"),
    ]


async def write_ms(filled: FilledIndex, rounds: int) -> float:
    """Returns the median CPU that a pair of messages adds to a transaction."""

    def nothing(tx: Transaction) -> None:
        tx.sessions.count(PERSON)

    def pair(number: int, messages: Sequence[Passage], tx: Transaction) -> None:
        nothing(tx)
        tx.index.append(messages_scope(PERSON), f"new {number}", messages)

    pairs = [partial(pair, n, filled.made.messages(2)) for n in range(100 * rounds)]
    record_of.cache_clear()
    added = await works_ms(filled.storage, pairs)
    return added - await works_ms(filled.storage, [nothing] * len(pairs))


async def works_ms(storage: Storage, works: Sequence[Callable[[Transaction], None]]) -> float:
    took = []
    for work in works:
        began = time.process_time()
        await storage.transact(work)
        took.append(time.process_time() - began)
    return statistics.median(took) * 1000


async def of_small_classes(name: str, url: str, rounds: int) -> list[Figure]:
    """One caller who may read 5,000 classes of one small document each: the time of an answer."""
    async with build_storage(settings_of(url)) as storage:
        filled = FilledIndex(storage, questions=200)
        for first in range(0, SMALL_CLASSES, CLASSES):
            some = range(first, first + CLASSES)
            audiences = {Scope(f"small {number}"): {"user:ana"} for number in some}
            await filled.add_classes(audiences, documents=1, passages=SMALL_PASSAGES)
        search = partial(filled.searcher.documents, {"user:ana"}, limit=LIMIT)
        first_ms = await wall_ms(search, filled.questions[:1])
        await filled.searcher.tidier.idle()
        cold_ms = await wall_ms(search, filled.questions[:1])
        warm_ms = await wall_ms(search, filled.questions[1:] * rounds)
        cpu = await cpu_ms(search, filled.questions, rounds)
        await filled.searcher.aclose()
    what = f"{name}: time of a search in {SMALL_CLASSES:,} classes of one caller"
    return [
        Figure(what=f"{what}, the first of all", value=first_ms, unit=" ms"),
        Figure(what=f"{what}, the first after a start", value=cold_ms, unit=" ms"),
        Figure(what=what, value=warm_ms, target=60, unit=" ms"),
        Figure(what=f"{name}: CPU of the same", value=cpu, unit=" ms"),
    ]


async def wall_ms(search: Search, questions: Sequence[str]) -> float:
    took = []
    for question in questions:
        began = time.perf_counter()
        await search(question)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


async def recall(path: Path) -> list[Figure]:
    """How much of the evidence of LoCoMo's questions is among the first ten messages."""
    found: dict[int, list[float]] = {5: [], 10: [], 25: []}
    async with build_storage(settings_of("memory:")) as storage:
        for number, conversation in enumerate(locomo(path)):
            owner = Owner(kind="user", id=f"{number:032x}")
            await storage.transact(partial(remember, owner, conversation))
            searcher = Searcher(storage, lambda _, __: {})
            for asked in conversation.questions:
                hits = await searcher.messages(owner, asked.text, limit=25)
                keys = [(hit.parent, hit.seq) for hit in hits]
                for count, shares in found.items():
                    shares.append(len(asked.evidence & set(keys[:count])) / len(asked.evidence))
            await searcher.aclose()
    figures = {count: 100 * statistics.mean(shares) for count, shares in found.items()}
    asked_count = len(found[10])
    return [
        Figure(
            what=f"LoCoMo, {asked_count:,} questions: evidence among the first {count}",
            value=value,
            target=78 if count == LIMIT else None,
            unit=" %",
            at_least=True,
        )
        for count, value in figures.items()
    ]


def remember(owner: Owner, conversation: LocomoConversation, tx: Transaction) -> None:
    for name, messages in conversation.sessions.items():
        tx.index.append(messages_scope(owner), name, messages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--locomo", type=Path, default=os.environ.get(LOCOMO))
    parser.add_argument("--loaded", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loaded:
        print(asyncio.run(loaded_mib(options.loaded)))
        return
    found = asyncio.run(recall(Path(options.locomo))) if options.locomo else []
    for kind in (of_classes, of_person, of_small_classes):
        with tempfile.TemporaryDirectory() as name, stores(Path(name)) as urls:
            for each in ("SQLite", "Postgres"):
                found += asyncio.run(kind(each, urls[each], options.rounds))
    print(table(found))
    if not options.locomo:
        print(f"\nWithout the recall in LoCoMo: set {LOCOMO} to its file.")


if __name__ == "__main__":
    main()
