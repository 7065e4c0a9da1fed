"""A storage that has nothing but a search index."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from chatbot.adapters.search.searcher import Searcher
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.domain.ports.embedder import Embedder
from chatbot.domain.ports.search import PassageKey
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Passage, Scope
from chatbot.domain.transaction import Transaction
from index_rows import DictRows, fresh_index

Found = TypeVar("Found")


class IndexStorage:
    """`transactions` counts them; each fails with `error` if there is one."""

    def __init__(self, embedder: Embedder | None = None) -> None:
        self.rows = DictRows()
        self.index: StoredIndex = fresh_index(self.rows)
        self.transactions = 0
        self.error: Exception | None = None
        self._texts: dict[PassageKey, str] = {}
        self.searcher = Searcher(cast("Storage", self), self.passage_texts, embedder)

    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        self.transactions += 1
        if self.error is not None:
            raise self.error
        return work(cast("Transaction", SimpleNamespace(index=self.index)))

    def add_document(
        self, scope: str, document: str, texts: Sequence[str], audience: set[str]
    ) -> None:
        """Index a document whose passages are these texts."""
        passages = [Passage(seq=n, text=text) for n, text in enumerate(texts, start=1)]
        self.index.put(Scope(scope), document, passages)
        self.index.set_audience(Scope(scope), audience)
        self._texts |= {(document, passage.seq): passage.text for passage in passages}

    def forget_text(self, document: str, seq: int) -> None:
        del self._texts[document, seq]

    def passage_texts(self, _: Any, keys: Sequence[PassageKey]) -> Mapping[PassageKey, str]:
        return {key: self._texts[key] for key in keys if key in self._texts}
