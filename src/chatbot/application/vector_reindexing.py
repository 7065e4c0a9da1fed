"""Finds the passages that have no vector of the embedding model, and embeds them.

It may run beside the service. A run that was interrupted is continued by the next one.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from chatbot.application.document_index import document_scopes
from chatbot.application.vector_parents import (
    DocumentParent,
    SessionParent,
    VectorParent,
    Wanted,
    doubtful,
)
from chatbot.application.vector_writer import VectorWriter, Work
from chatbot.domain.chat import SessionId
from chatbot.domain.documents import DocumentId
from chatbot.domain.identity import Owner
from chatbot.domain.ports.backend import Progress, unreported
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Scope, messages_scope, owner_of
from chatbot.domain.transaction import Transaction

_COUNTED_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """How many passages have no vector, of how many."""

    messages: int = 0
    passages: int = 0
    indexed: int = 0


class VectorReindexing:
    """Keeps the vectors of the index complete.

    Args:
        writer: None if there is no embedding model.
        messages: whether messages are embedded.
    """

    def __init__(self, storage: Storage, writer: VectorWriter | None, *, messages: bool) -> None:
        self._storage, self._writer, self._messages = storage, writer, messages

    @property
    def model(self) -> str | None:
        return None if self._writer is None else self._writer.vectors.model

    async def run(
        self, owners: Collection[Owner], *, documents: bool, progress: Progress = unreported
    ) -> int:
        """Embed what has no vector, and drop the vectors of other models; returns how many were made.

        Raises:
            ModelFailure: the provider fails. What was made until then stays.
        """
        scopes = await self._scopes(owners, documents=documents)
        for scope in scopes:
            await self._storage.transact(partial(_drop_others, scope, self.model))
        if self._writer is None or not scopes:
            return 0
        wanted = Wanted(model=self._writer.vectors.model, dimension=None)
        wanted = Wanted(model=wanted.model, dimension=await self._writer.vectors.dimension())
        left: Sequence[Work] = [
            Work(parent=each, after=0) async for each in self._doubtful(scopes, wanted)
        ]
        made, total = 0, len(left)
        while left:
            left, stored = await self._writer.step(left, wanted)
            made += stored
            progress(total - len(left), total)
        return made

    async def lacking(self, owners: Collection[Owner], *, dimension: int | None) -> Lacking:
        """Count what has no vector of the model and dimension."""
        if self._writer is None:
            return Lacking()
        scopes = await self._scopes(owners, documents=True)
        wanted = Wanted(model=self._writer.vectors.model, dimension=dimension)
        indexed = messages = passages = 0
        for scope in scopes:
            counts = await self._storage.transact(lambda tx, s=scope: tx.index.indexed(s))  # type: ignore[misc] # a default
            indexed += sum(counts.values())
        async for parent in self._doubtful(scopes, wanted):
            count = await self._count(parent, wanted)
            if isinstance(parent, SessionParent):
                messages += count
            else:
                passages += count
        return Lacking(messages=messages, passages=passages, indexed=indexed)

    async def _count(self, parent: VectorParent, wanted: Wanted) -> int:
        count, after = 0, 0
        while found := await self._storage.transact(
            lambda tx, after=after: parent.lacking(  # type: ignore[misc] # a default
                tx, wanted, after=after, limit=_COUNTED_AT_ONCE
            )
        ):
            count, after = count + len(found), found[-1].seq
        return count

    async def _scopes(self, owners: Collection[Owner], *, documents: bool) -> Sequence[Scope]:
        of_people = map(messages_scope, owners) if self._messages or self._writer is None else ()
        of_documents = await self._storage.transact(document_scopes) if documents else ()
        return [*of_people, *of_documents]

    async def _doubtful(
        self, scopes: Sequence[Scope], wanted: Wanted
    ) -> AsyncIterator[VectorParent]:
        """Yield the sessions and documents with fewer vectors than passages."""
        for scope in scopes:
            owner = owner_of(scope)
            for parent in await self._storage.transact(partial(doubtful, scope, wanted)):
                if owner is not None:
                    yield SessionParent(owner, SessionId(parent))
                elif live := await self._storage.transact(partial(_live, DocumentId(parent))):
                    yield DocumentParent(DocumentId(parent), live)


def _drop_others(scope: Scope, model: str | None, tx: Transaction) -> None:
    tx.index.drop_other_vectors(scope, model)


def _live(document_id: DocumentId, tx: Transaction) -> int | None:
    """Returns the number of the version that answers."""
    document = tx.documents.get(document_id)
    return None if document is None or document.live is None else document.live.number
