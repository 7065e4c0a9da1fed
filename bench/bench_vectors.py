"""Searching by meaning: what 20,000 vectors add to the CPU of a search, and how many of the closest are found.

Vectors are made: topics with passages around them, as embedding models make them of real texts. The
time in which a provider embeds the question is not in the figures.
"""

import argparse
import asyncio
import heapq
import math
import random
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from operator import mul
from pathlib import Path

from bench_search import LIMIT, PERSON, cpu_ms
from filled_index import FilledIndex
from harness import Figure, table
from stores import settings_of, stores

from chatbot.adapters.search.searcher import Searcher
from chatbot.adapters.search.tidying import index_of
from chatbot.adapters.search.vectors import Quantised
from chatbot.adapters.search.weighting import DOCUMENTS
from chatbot.domain.ports.embedder import Embedder
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Embedded, Scope, Vector, messages_scope, rounded
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import build_storage

DOCUMENTS_OF_ALL, PASSAGES, SESSIONS, VECTORS = 1000, 20, 500, 20_000
SCOPE, READER = Scope("class"), "public"
TOPICS, SPREAD = 400, 1.2
CLOSEST = 10
QUESTIONS, SHARES_OF = 40, 10


class MadeVectors(Embedder):
    """Vectors around topics, the same every time for a text."""

    def __init__(self, dimension: int) -> None:
        self.model, self.dimension = "openai/made-up", dimension
        chance = random.Random(5)  # not a secret
        shared = [chance.gauss(0, 0.6) for _ in range(dimension)]
        self._topics = [[chance.gauss(each, 1) for each in shared] for _ in range(TOPICS)]
        self._made: dict[str, Vector] = {}

    def of(self, text: str) -> Vector:
        if text not in self._made:
            self._made[text] = self._new(text)
        return self._made[text]

    def _new(self, text: str) -> Vector:
        chance = random.Random(text)  # not a secret
        return rounded([chance.gauss(each, SPREAD) for each in chance.choice(self._topics)])

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        return [self.of(text) for text in texts]

    async def aclose(self) -> None:
        """Nothing is open."""


async def put_vectors(
    storage: Storage, scope: Scope, made: MadeVectors
) -> Mapping[tuple[str, int], Vector]:
    """Give each passage of an access class a vector."""
    count = await storage.transact(lambda tx: tx.index.indexed(scope))
    vectors: dict[tuple[str, int], Vector] = {}
    for parent, passages in count.items():
        new = {seq: made.of(f"{parent} {seq}") for seq in range(1, 1 + passages)}
        await storage.transact(partial(put, scope, parent, Embedded(model=made.model, vectors=new)))
        vectors |= {(parent, seq): vector for seq, vector in new.items()}
    return vectors


def put(scope: Scope, parent: str, vectors: Embedded, tx: Transaction) -> None:
    tx.index.put_vectors(scope, parent, vectors)


async def added(name: str, url: str, made: MadeVectors, rounds: int) -> list[Figure]:
    """What vectors add to the CPU of a search in documents and in messages, and what they find."""
    async with build_storage(settings_of(url)) as storage:
        filled = FilledIndex(storage, questions=QUESTIONS)
        for first in range(0, DOCUMENTS_OF_ALL, 100):
            scope = Scope(f"{SCOPE} {first}")
            await filled.add_classes({scope: {READER}}, documents=100, passages=PASSAGES)
        await filled.add_sessions(PERSON, SESSIONS)
        scopes = await storage.transact(lambda tx: tx.index.scopes_for([READER]))
        vectors: dict[tuple[str, int], Vector] = {}
        for scope in scopes:
            vectors |= await put_vectors(storage, scope, made)
        await put_vectors(storage, messages_scope(PERSON), made)
        by_meaning = Searcher(storage, lambda _, keys: {k: filled.texts[k] for k in keys}, made)
        found = []
        for what, words, both in (
            ("documents", filled.searcher.documents, by_meaning.documents),
            ("messages", filled.searcher.messages, by_meaning.messages),
        ):
            who = {READER} if what == "documents" else PERSON
            plain = await cpu_ms(partial(words, who, limit=LIMIT), filled.questions, rounds)  # type: ignore[arg-type]
            ms = await cpu_ms(partial(both, who, limit=LIMIT), filled.questions, rounds)  # type: ignore[arg-type]
            said = f"{name}, {VECTORS:,} vectors of {made.dimension} dimensions: CPU of a search in {what}"
            found += [
                Figure(what=f"{said}, by words alone", value=plain, unit=" ms"),
                Figure(what=f"{said}, added by meaning", value=ms - plain, target=15, unit=" ms"),
            ]
        if name == "SQLite":  # it is the same on every store
            found.append(await share_found(storage, scopes, made, vectors))
        await by_meaning.aclose()
        await filled.searcher.aclose()
    return found


async def share_found(
    storage: Storage,
    scopes: Sequence[Scope],
    made: MadeVectors,
    vectors: Mapping[tuple[str, int], Vector],
) -> Figure:
    """How many of the ten closest by exact cosine are candidates of a search."""
    snapshot = await storage.transact(lambda tx: index_of(tx).vector_snapshot(scopes, made.model))
    lengths = {key: math.hypot(*vector) for key, vector in vectors.items()}
    shares = []
    for number in range(SHARES_OF):
        asked = made.of(f"question {number}")
        pool = snapshot.pool(len(asked))
        candidates = pool.distances(Quantised.of(asked).signs, DOCUMENTS.candidates).closest
        closest = heapq.nlargest(
            CLOSEST, vectors, key=lambda key: sum(map(mul, asked, vectors[key])) / lengths[key]
        )
        shares.append(len(set(closest) & set(candidates)) / CLOSEST)
    return Figure(
        what=f"{len(asked)} dimensions: of the ten closest, candidates by their signs",
        value=100 * statistics.mean(shares),
        target=90,
        unit=" %",
        at_least=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dimensions", type=int, nargs="*", default=[256, 1536])
    options = parser.parse_args()
    found = []
    for dimension in options.dimensions:
        made = MadeVectors(dimension)
        with tempfile.TemporaryDirectory() as name, stores(Path(name)) as urls:
            for each in ("SQLite", "Postgres"):
                found += asyncio.run(added(each, urls[each], made, options.rounds))
    print(table(found))


if __name__ == "__main__":
    main()
