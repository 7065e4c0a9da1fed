"""Builds the search of messages and documents."""

from collections.abc import Mapping, Sequence

from chatbot.adapters.search.searcher import PassageKey, Searcher
from chatbot.domain.documents import DocumentId
from chatbot.domain.ports.search import Search
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction


def build_search(storage: Storage) -> Search:
    return Searcher(storage, passage_texts)


def passage_texts(tx: Transaction, keys: Sequence[PassageKey]) -> Mapping[PassageKey, str]:
    """Returns the texts of the existing passages of documents."""
    found = tx.documents.passages((DocumentId(parent), seq) for parent, seq in keys)
    return {(str(document), seq): each.passage.text for (document, seq), each in found.items()}
