"""What an index has, passage by passage, and an index built afresh of messages to compare it with."""

from collections.abc import Iterable
from typing import NamedTuple

from chatbot.adapters.search.caches import IndexCache
from chatbot.adapters.search.segments import Segment
from chatbot.adapters.search.snapshots import StoredSnapshot
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.adapters.storage.in_memory.index_rows import InMemoryIndexRows
from chatbot.domain.chat import Message, MessageRange
from chatbot.domain.identity import Owner
from chatbot.domain.ports.search import Snapshot
from chatbot.domain.ports.session_log import SessionLog
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Scope, messages_scope, passages_of
from chatbot.domain.transaction import Transaction
from vectors_of_texts import MODEL

ALL = MessageRange(limit=10**6)


class Indexed(NamedTuple):
    """All that the index knows of a passage."""

    parent: str
    seq: int
    length: int
    flags: int
    label: str
    terms: tuple[tuple[int, int], ...]


def contents(snapshot: Snapshot) -> list[Indexed]:
    """The passages that are not removed, in order; one that is in it twice is there twice."""
    assert isinstance(snapshot, StoredSnapshot)
    return sorted(each for segment in snapshot.opened().segments for each in _passages(segment))


def _passages(segment: Segment) -> Iterable[Indexed]:
    terms: dict[int, list[tuple[int, int]]] = {}
    for number, term in enumerate(segment.terms):
        for passage, count in zip(*segment.columns_of(number), strict=True):
            terms.setdefault(passage, []).append((term, count))
    for passage in range(segment.count):
        if not segment.is_dead(passage):
            yield Indexed(
                segment.parents[segment.parent_of(passage)],
                segment.seqs[passage],
                segment.lengths[passage],
                segment.flags[passage],
                segment.label_names[segment.labels[passage]],
                tuple(terms.get(passage, ())),
            )


def afresh(conversations: dict[str, Iterable[Message]]) -> list[Indexed]:
    """What an index of these messages has, by session."""
    scope, index = Scope("afresh"), StoredIndex(InMemoryIndexRows(), IndexCache())
    for session_id, messages in conversations.items():
        index.append(scope, session_id, passages_of(messages))
    return contents(index.snapshot([scope]))


def stored(sessions: SessionLog, owner: Owner) -> dict[str, Iterable[Message]]:
    """All messages of an owner, by session."""
    found = sessions.page(owner, limit=10**6)
    return {each.id: sessions.read(owner, each.id, ALL) for each in found}


async def indexed_of(storage: Storage, owner: Owner) -> list[Indexed]:
    """What the index of a store has of an owner's messages."""
    scope = messages_scope(owner)
    return contents(await storage.transact(lambda tx: tx.index.snapshot([scope])))


async def assert_index_is_true(storage: Storage, owner: Owner) -> list[Indexed]:
    """The index of an owner equals one built afresh, and only its passages have vectors.

    Returns what it has.
    """

    def both(tx: Transaction) -> tuple[dict[str, Iterable[Message]], Snapshot]:
        snapshot = tx.index.snapshot([messages_scope(owner)])
        return stored(tx.sessions, owner), snapshot

    messages, snapshot = await storage.transact(both)
    found = contents(snapshot)
    assert found == afresh(messages)
    assert await with_vectors(storage, messages_scope(owner)) <= {(p.parent, p.seq) for p in found}
    return found


async def with_vectors(storage: Storage, scope: Scope) -> set[tuple[str, int]]:
    """The passages that have a vector."""
    found = await storage.transact(lambda tx: tx.index.vectors_of(scope, MODEL))
    return {(parent, seq) for parent, numbers in found.items() for seq in numbers}
