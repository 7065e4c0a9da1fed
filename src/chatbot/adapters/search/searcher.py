"""Searches: a short transaction reads the permitted part of the index, and a thread scores it."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from chatbot.adapters.search.exact_forms import ExactForms
from chatbot.adapters.search.folding import segment_of_rows
from chatbot.adapters.search.questions import question_of
from chatbot.adapters.search.records import tail_row
from chatbot.adapters.search.scoring import Ranking, in_order
from chatbot.adapters.search.segments import Segment
from chatbot.adapters.search.snapshots import Opened, StoredSnapshot
from chatbot.adapters.search.statistics import statistics_of
from chatbot.adapters.search.tidying import Tidier, index_of
from chatbot.adapters.search.weighting import DOCUMENTS, MESSAGES, Weights
from chatbot.domain.identity import Owner
from chatbot.domain.ports.search import Search
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Hit, Passage, Scope, messages_scope
from chatbot.domain.transaction import Transaction

PassageKey = tuple[str, int]
"""The parent and the number of a passage."""
PassageTexts = Callable[[Transaction, Sequence[PassageKey]], Mapping[PassageKey, str]]
"""Returns the texts of passages of documents; those that no longer exist are left out."""
_LABEL = "label:"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Hits in any order, what their texts may add, and the access classes that should be folded."""

    hits: Sequence[Hit] = ()
    forms: ExactForms | None = None
    due: Sequence[Scope] = ()


class Searcher(Search):
    """Searches the index of a store.

    Args:
        passage_texts: reads what exact forms and pairs of words are looked for in.
    """

    def __init__(self, storage: Storage, passage_texts: PassageTexts) -> None:
        self._storage, self._passage_texts = storage, passage_texts
        self.tidier = Tidier(storage)

    async def messages(
        self, owner: Owner, query: str, *, limit: int, without: str | None = None
    ) -> Sequence[Hit]:
        def read(tx: Transaction) -> StoredSnapshot:
            return index_of(tx).snapshot([messages_scope(owner)])

        snapshot = await self._storage.transact(read)
        if snapshot.is_empty:
            return []
        found = await asyncio.to_thread(_search, snapshot, query, MESSAGES, limit, without)
        self.tidier.add(found.due)
        return in_order(found.hits, limit)

    async def documents(
        self, atoms: Collection[str], query: str, *, limit: int, labels: Collection[str] = ()
    ) -> Sequence[Hit]:
        def read(tx: Transaction) -> StoredSnapshot:
            index = index_of(tx)
            permitted = index.scopes_for(atoms)
            if labels:
                labelled = set(index.scopes_for([f"{_LABEL}{label}" for label in labels]))
                permitted = [scope for scope in permitted if scope in labelled]
            return index.snapshot(permitted)

        snapshot = await self._storage.transact(read)
        if snapshot.is_empty:
            return []
        found = await asyncio.to_thread(_search, snapshot, query, DOCUMENTS, limit)
        self.tidier.add(found.due)
        if found.forms is None:
            return []
        keys = [(hit.parent, hit.seq) for hit in found.hits]
        texts = await self._storage.transact(lambda tx: self._passage_texts(tx, keys))
        hits = await asyncio.to_thread(found.forms.added_to, found.hits, texts)
        return in_order(hits, limit)

    async def texts(
        self, query: str, passages: Mapping[str, Sequence[Passage]], *, limit: int
    ) -> Sequence[Hit]:
        if not any(passages.values()):
            return []
        return await asyncio.to_thread(_best_of, query, passages, limit)

    async def aclose(self) -> None:
        await self.tidier.aclose()


def _search(
    snapshot: StoredSnapshot, query: str, weights: Weights, limit: int, without: str | None = None
) -> _Found:
    opened = snapshot.opened()
    found = _found(opened, query, weights, limit, without)
    return replace(found, due=snapshot.due()) if opened.is_new else found


def _found(
    opened: Opened, query: str, weights: Weights, limit: int, without: str | None = None
) -> _Found:
    question, statistics = question_of(query), opened.statistics
    if not statistics.terms or not question.terms:
        return _Found()
    ranking = Ranking(opened, question, weights)
    forms = ExactForms(question, ranking.rarities, weights, statistics.mean_length)
    return _Found(hits=ranking.hits(limit, without), forms=forms)


def _best_of(query: str, passages: Mapping[str, Sequence[Passage]], limit: int) -> Sequence[Hit]:
    """Returns the best of the given passages, which are analysed first."""
    rows = [tail_row(parent, each) for parent, given in passages.items() for each in given]
    segment = Segment.decoded(segment_of_rows(rows))
    opened = Opened(segments=[segment], statistics=statistics_of([segment]), is_new=False)
    found = _found(opened, query, DOCUMENTS, limit)
    texts = {(parent, each.seq): each.text for parent, given in passages.items() for each in given}
    hits = found.forms.added_to(found.hits, texts) if found.forms else ()
    return in_order(hits, limit)
