"""Searches: a short transaction reads the permitted part of the index, and a thread scores it."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from chatbot.adapters.search.exact_forms import ExactForms
from chatbot.adapters.search.folding import segment_of_rows
from chatbot.adapters.search.questions import question_of
from chatbot.adapters.search.records import tail_row
from chatbot.adapters.search.scoring import DIGITS, Ranked, Ranking
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
    """The best passages by words alone, and what raises the score of those whose texts are known."""

    ranking: Ranking
    best: Sequence[Ranked]
    forms: ExactForms

    def hits(self, limit: int) -> Sequence[Hit]:
        return [self.ranking.hit(each) for each in self.best[:limit]]

    def hits_in(self, texts: Mapping[PassageKey, str], limit: int) -> Sequence[Hit]:
        """Returns the best hits, raised by what their texts say; without a text there is none."""
        raised = []
        for each in self.best:
            if (text := texts.get((each.parent, each.seq))) is not None:
                exact, pairs = self.forms.added_by(text)
                score = round(each.score + exact + pairs, DIGITS)
                raised.append((each._replace(score=score), exact, pairs))
        raised.sort(key=lambda each: each[0].rank)
        return [self.ranking.hit(each, exact=e, pairs=p) for each, e, p in raised[:limit]]


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

        def search() -> tuple[Sequence[Hit], Sequence[Scope]]:
            opened = snapshot.opened()
            found = _found(opened, query, MESSAGES, limit, without)
            return found.hits(limit) if found else [], opened.due

        hits, due = await asyncio.to_thread(search)
        self.tidier.add(due)
        return hits

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

        def search() -> tuple[_Found | None, Sequence[Scope]]:
            opened = snapshot.opened()
            return _found(opened, query, DOCUMENTS, limit), opened.due

        found, due = await asyncio.to_thread(search)
        self.tidier.add(due)
        if found is None:
            return []
        keys = [(each.parent, each.seq) for each in found.best]
        texts = await self._storage.transact(lambda tx: self._passage_texts(tx, keys))
        return await asyncio.to_thread(found.hits_in, texts, limit)

    async def texts(
        self, query: str, passages: Mapping[str, Sequence[Passage]], *, limit: int
    ) -> Sequence[Hit]:
        if not any(passages.values()):
            return []
        return await asyncio.to_thread(_best_of, query, passages, limit)

    async def aclose(self) -> None:
        await self.tidier.aclose()


def _found(
    opened: Opened, query: str, weights: Weights, limit: int, without: str | None = None
) -> _Found | None:
    question, statistics = question_of(query), opened.statistics
    if not statistics.terms or not question.terms:
        return None
    ranking = Ranking(opened, question, weights, limit=limit, without=without)
    forms = ExactForms(question, ranking.rarities, weights, statistics.mean_length)
    return _Found(ranking=ranking, best=ranking.best(), forms=forms)


def _best_of(query: str, passages: Mapping[str, Sequence[Passage]], limit: int) -> Sequence[Hit]:
    """Returns the best of the given passages, which are analysed first."""
    rows = [tail_row(parent, each) for parent, given in passages.items() for each in given]
    segment = Segment.decoded(segment_of_rows(rows))
    opened = Opened(segments=[segment], statistics=statistics_of([segment]))
    found = _found(opened, query, DOCUMENTS, limit)
    texts = {(parent, each.seq): each.text for parent, given in passages.items() for each in given}
    return found.hits_in(texts, limit) if found else []
