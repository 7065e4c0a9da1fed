"""Embeds what lacks vectors in sessions and documents, some of it at a time."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from chatbot.application.passage_vectors import PassageVectors, text_of
from chatbot.application.vector_parents import VectorParent, Wanted
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Passage, Vector
from chatbot.domain.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A session or document, of which passages after this number may lack a vector.

    Without a number, those that are newer than all passages with a vector.
    """

    parent: VectorParent
    after: int | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    parent: VectorParent
    passages: Sequence[Passage]


class VectorWriter:
    """Embeds and stores. Texts of several parents go to the model together."""

    def __init__(self, storage: Storage, vectors: PassageVectors) -> None:
        self._storage, self.vectors = storage, vectors

    async def step(self, left: Iterable[Work], wanted: Wanted) -> tuple[Sequence[Work], int]:
        """Do some of the work; returns what is left of it, and how many vectors were stored.

        Raises:
            ModelFailure: the provider fails; nothing of this step was stored.
            StorageFailure: the store failed.
        """
        parts, rest = await self._read(deque(left), wanted)
        texts = [text_of(passage) for part in parts for passage in part.passages]
        found = iter(await self.vectors.of_texts(texts))
        stored = 0
        for part in parts:
            stored += await self._store(part, [next(found) for _ in part.passages])
        return rest, stored

    async def _read(
        self, left: deque[Work], wanted: Wanted
    ) -> tuple[Sequence[_Part], Sequence[Work]]:
        """Read no more than goes into one call: what is forgotten after it is read is still sent."""
        parts, room = list[_Part](), self.vectors.at_once
        while left and room:
            work = left.popleft()
            passages = await self._storage.transact(partial(_lacking, work, wanted, room))
            if passages:
                parts.append(_Part(work.parent, passages))
            if len(passages) == room:
                left.appendleft(replace(work, after=passages[-1].seq))
            room -= len(passages)
        return parts, list(left)

    async def _store(self, part: _Part, vectors: Sequence[Vector | None]) -> int:
        embedded = self.vectors.embedded(part.passages, vectors)
        if embedded.vectors:
            await self._storage.transact(lambda tx: part.parent.put(tx, embedded))
        return len(embedded.vectors)


def _lacking(work: Work, wanted: Wanted, limit: int, tx: Transaction) -> Sequence[Passage]:
    return work.parent.lacking(tx, wanted, after=work.after, limit=limit)
