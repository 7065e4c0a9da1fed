"""Folds tails and segments in the background, so that searches stay fast and turns do not wait."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

from chatbot.adapters.search.apart import ProcessFailed, run_apart
from chatbot.adapters.search.folding import LONGEST_TAIL, Plan
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.domain.errors import StorageFailure
from chatbot.domain.ports.search import SearchIndex
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Scope
from chatbot.domain.transaction import Transaction

_log = logging.getLogger("chatbot.search")

_TURNS = LONGEST_TAIL // 2
"""A turn has two messages."""
_SCOPES_COUNTED = 10_000
_AT_ONCE = 128
"""How many access classes are folded in one transaction."""
_BUILT_APART = 1000
"""Building segments of so many passages keeps the threads of the service waiting for 15 ms."""


class Tidier:
    """Folds access classes that searches found to need it, one batch after the other.

    Segments are built outside of transactions, in a thread or, if that takes long, in a process.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._due: dict[Scope, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._turns = Counter[Scope]()

    def note_turn(self, scope: Scope) -> None:
        """Fold a person's messages after so many turns in which no search has done so."""
        self._turns[scope] += 1
        if self._turns[scope] == _TURNS:
            self.add([scope])
        if len(self._turns) > _SCOPES_COUNTED:
            self._turns.clear()

    def add(self, scopes: Iterable[Scope]) -> None:
        """Fold these access classes soon."""
        for scope in scopes:
            self._due[scope] = None
            del self._turns[scope]
        is_idle = self._task is None or self._task.done()
        if self._due and is_idle:
            self._task = asyncio.create_task(self._run())

    async def idle(self) -> None:
        """Wait until nothing is left to do."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def aclose(self) -> None:
        """Stop after the current batch. Later searches find the rest again."""
        self._closing = True
        await self.idle()

    async def _run(self) -> None:
        while self._due and not self._closing:
            batch = sorted(islice(self._due, _AT_ONCE))  # locks are taken in one order
            for scope in batch:
                del self._due[scope]
            try:
                await self._fold(batch)
            except (StorageFailure, ProcessFailed) as error:
                _log.warning("The search index was not folded: %s", error)

    async def _fold(self, scopes: Sequence[Scope]) -> None:
        def read(tx: Transaction) -> list[Plan]:
            plans = (index_of(tx).plan(scope) for scope in scopes)
            return [plan for plan in plans if plan is not None]

        plans = await self._storage.transact(read)
        count = sum(part.count for plan in plans for part in plan.parts)
        run = asyncio.to_thread if count < _BUILT_APART else run_apart
        built = await run(_built, plans)

        def replace(tx: Transaction) -> None:
            for plan, segments in zip(plans, built, strict=True):
                index_of(tx).replace(plan, segments)

        if plans:
            await self._storage.transact(replace)


def _built(plans: Sequence[Plan]) -> Sequence[Sequence[tuple[int, bytes]]]:
    return [plan.built() for plan in plans]


def index_of(tx: Transaction) -> StoredIndex:
    """Returns the index of a transaction."""
    return own_index(tx.index)


def own_index(index: SearchIndex) -> StoredIndex:
    """Returns the index as one of this adapter.

    Raises:
        TypeError: it belongs to another adapter.
    """
    if not isinstance(index, StoredIndex):
        raise TypeError(f"Not an index of this adapter: {type(index).__name__}")
    return index
