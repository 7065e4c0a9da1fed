"""Builds the search of messages and documents."""

from collections.abc import Mapping, Sequence

from chatbot.adapters.search.searcher import Searcher
from chatbot.domain.documents import DocumentId
from chatbot.domain.ports.search import PassageKey, Search
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.embeddings import NO_EMBEDDINGS, Embeddings


def build_search(storage: Storage, embeddings: Embeddings = NO_EMBEDDINGS) -> Search:
    return Searcher(
        storage,
        passage_texts,
        embeddings.embedder,
        embedding_timeout_s=embeddings.question_timeout_s,
    )


def passage_texts(tx: Transaction, keys: Sequence[PassageKey]) -> Mapping[PassageKey, str]:
    """Returns the texts of the existing passages of documents."""
    found = tx.documents.passages((DocumentId(parent), seq) for parent, seq in keys)
    return {(str(document), seq): each.passage.text for (document, seq), each in found.items()}
