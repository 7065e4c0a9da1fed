"""Searches: a short transaction reads the permitted part of the index, and a thread scores it."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from chatbot.adapters.search.exact_forms import ExactForms
from chatbot.adapters.search.folding import segment_of_rows
from chatbot.adapters.search.meaning import Meaning
from chatbot.adapters.search.question_vectors import QuestionVectors
from chatbot.adapters.search.questions import question_of
from chatbot.adapters.search.records import tail_row
from chatbot.adapters.search.scoring import DIGITS, Ranked, Ranking
from chatbot.adapters.search.segments import Segment
from chatbot.adapters.search.snapshots import Opened, StoredSnapshot
from chatbot.adapters.search.statistics import statistics_of
from chatbot.adapters.search.tidying import Tidier, index_of, own_index
from chatbot.adapters.search.vector_snapshots import VectorSnapshot
from chatbot.adapters.search.vectors import Quantised
from chatbot.adapters.search.weighting import DOCUMENTS, MESSAGES, Weights
from chatbot.domain.identity import Owner
from chatbot.domain.ports.embedder import Embedder
from chatbot.domain.ports.search import (
    PassageKey,
    ReadTexts,
    Search,
    SearchIndex,
    Snapshot,
    labelled,
)
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Hit, Passage, Scope, messages_scope
from chatbot.domain.transaction import Transaction

PassageTexts = Callable[[Transaction, Sequence[PassageKey]], Mapping[PassageKey, str]]
"""Returns the texts of passages of documents; those that no longer exist are left out."""
_Result = TypeVar("_Result")


class _Asked(NamedTuple):
    """A question, how it is answered, and the parent of which nothing is wanted."""

    query: str
    weights: Weights
    limit: int
    without: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _View(Snapshot):
    """The data that one search may read."""

    words: StoredSnapshot
    vectors: VectorSnapshot | None

    @property
    def is_empty(self) -> bool:
        return self.words.is_empty


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The best passages by words alone, and what raises the scores of those whose texts are known.

    With `meaning`, these are candidates until they are compared with the question by their vectors;
    `unread` chunks of vectors have to be read before.
    """

    ranking: Ranking
    best: Sequence[Ranked]
    forms: ExactForms
    meaning: Meaning | None = None
    unread: frozenset[int] = frozenset()

    def compared(self) -> "_Found":
        """Returns the best by words and meaning."""
        if self.meaning is None:
            return self
        return replace(self, best=self.meaning.added_to(self.best), meaning=None)

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
        embedder: makes vectors of questions; without it, only words are searched for.
        embedding_timeout_s: how long a search waits for the vector of its question.
    """

    def __init__(
        self,
        storage: Storage,
        passage_texts: PassageTexts,
        embedder: Embedder | None = None,
        *,
        embedding_timeout_s: float = 5.0,
    ) -> None:
        self._storage, self._passage_texts = storage, passage_texts
        self.tidier = Tidier(storage)
        self._questions = (
            None if embedder is None else QuestionVectors(embedder, timeout_s=embedding_timeout_s)
        )

    def look(self, index: SearchIndex, scopes: Collection[Scope]) -> Snapshot:
        own = own_index(index)
        words = own.snapshot(scopes)
        if self._questions is None or words.is_empty:
            return _View(words=words, vectors=None)
        return _View(words=words, vectors=own.vector_snapshot(scopes, self._questions.model))

    async def messages(
        self,
        owner: Owner,
        query: str,
        *,
        limit: int,
        without: str | None = None,
        seen: Snapshot | None = None,
    ) -> Sequence[Hit]:
        def read(tx: Transaction) -> Snapshot:
            return self.look(tx.index, [messages_scope(owner)])

        view = _own(await self._storage.transact(read) if seen is None else seen)
        if view.is_empty:
            return []
        asked = _Asked(query, MESSAGES, limit, without)
        return await self._found(view, asked, lambda found: found.hits(limit)) or []

    async def documents(
        self,
        atoms: Collection[str],
        query: str,
        *,
        limit: int,
        labels: Collection[str] = (),
        seen: Snapshot | None = None,
        texts: ReadTexts | None = None,
    ) -> Sequence[Hit]:
        def read(tx: Transaction) -> Snapshot:
            return self.look(tx.index, labelled(tx.index, tx.index.scopes_for(atoms), labels))

        view = _own(await self._storage.transact(read) if seen is None else seen)
        if view.is_empty:
            return []
        found = await self._found(view, _Asked(query, DOCUMENTS, limit), lambda found: found)
        if found is None:
            return []
        keys = [(each.parent, each.seq) for each in found.best]
        read_texts = texts or self._texts
        return await asyncio.to_thread(found.hits_in, await read_texts(keys), limit)

    async def _texts(self, keys: Sequence[PassageKey]) -> Mapping[PassageKey, str]:
        return await self._storage.transact(lambda tx: self._passage_texts(tx, keys))

    async def texts(
        self, query: str, passages: Mapping[str, Sequence[Passage]], *, limit: int
    ) -> Sequence[Hit]:
        if not any(passages.values()):
            return []
        return await asyncio.to_thread(_best_of, query, passages, limit)

    def answered(self, owner: Owner) -> None:
        self.tidier.note_turn(messages_scope(owner))

    async def aclose(self) -> None:
        await self.tidier.aclose()
        if self._questions is not None:
            await self._questions.aclose()

    async def _found(
        self, view: _View, asked: _Asked, result_of: Callable[[_Found], _Result]
    ) -> _Result | None:
        """Returns the result, computed in one thread if every vector is in the cache."""
        vector = await self._vector_of(asked.query, view)

        def search() -> tuple[_Found | None, _Result | None, Sequence[Scope]]:
            opened = view.words.opened()
            found = _found(opened, asked, view.vectors, vector)
            is_done = found is not None and not found.unread
            return found, result_of(found.compared()) if found and is_done else None, opened.due

        found, result, due = await asyncio.to_thread(search)
        self.tidier.add(due)
        if found is None or found.meaning is None or not found.unread:
            return result
        meaning, unread = found.meaning, found.unread
        await self._storage.transact(lambda tx: meaning.read(index_of(tx), unread))
        return await asyncio.to_thread(lambda: result_of(found.compared()))

    async def _vector_of(self, query: str, view: _View) -> Quantised | None:
        """Returns the vector of a question; none is made if there is nothing to compare it with."""
        if self._questions is None or view.vectors is None or view.vectors.is_empty:
            return None
        return await self._questions.of(query)


def _own(snapshot: Snapshot) -> _View:
    if not isinstance(snapshot, _View):
        raise TypeError(f"Not a snapshot of this searcher: {type(snapshot).__name__}")
    return snapshot


def _found(
    opened: Opened,
    asked: _Asked,
    vectors: VectorSnapshot | None = None,
    vector: Quantised | None = None,
) -> _Found | None:
    question, statistics, weights = question_of(asked.query), opened.statistics, asked.weights
    if not statistics.terms or not (question.terms or vector):
        return None
    meaning = also = None
    if vectors is not None and vector is not None:
        meaning = Meaning(vectors, vector, weights, without=asked.without)
        also = meaning.places(opened.segments)
    ranking = Ranking(
        opened, question, weights, limit=asked.limit, without=asked.without, also=also
    )
    forms = ExactForms(question, ranking.rarities, weights, statistics.mean_length)
    best = ranking.best()
    unread = frozenset[int]() if meaning is None else meaning.unread(best)
    return _Found(ranking=ranking, best=best, forms=forms, meaning=meaning, unread=unread)


def _best_of(query: str, passages: Mapping[str, Sequence[Passage]], limit: int) -> Sequence[Hit]:
    """Returns the best of the given passages, which are analysed first."""
    rows = [tail_row(parent, each) for parent, given in passages.items() for each in given]
    segment = Segment.decoded(segment_of_rows(rows))
    opened = Opened(segments=[segment], statistics=statistics_of([segment]))
    found = _found(opened, _Asked(query, DOCUMENTS, limit))
    texts = {(parent, each.seq): each.text for parent, given in passages.items() for each in given}
    return found.hits_in(texts, limit) if found else []
