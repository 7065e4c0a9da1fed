"""The vectors of a document that is being published.

A failing embedding model delays no document: it is found by its words, and its vectors follow.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from chatbot.application.passage_vectors import PassageVectors
from chatbot.application.vector_parents import DocumentParent
from chatbot.application.vector_queue import VectorQueue
from chatbot.domain.documents import Document
from chatbot.domain.errors import ModelFailure, cause_of
from chatbot.domain.search import Embedded, Passage

logger = logging.getLogger("chatbot.ingestion")

_BEFORE_PUBLISHING = 64
"""Passages that are embedded before the document is published: most documents have fewer."""
_WAITS_S = 30.0
"""How long a document waits for its vectors before it is published."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 600.0
"""After a failure, no document waits for so long."""


class DocumentVectors:
    """Embeds the first passages of a document at once, and leaves the others to the queue."""

    def __init__(
        self,
        vectors: PassageVectors,
        queue: VectorQueue,
        *,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vectors, self._queue, self._seconds = vectors, queue, seconds
        self._pause_s, self._paused_until = _FIRST_PAUSE_S / 2, 0.0

    async def of(self, passages: Sequence[Passage]) -> Embedded | None:
        """Return the vectors of the first passages; None if the model fails or has failed lately."""
        if self._seconds() < self._paused_until:
            return None
        try:
            async with asyncio.timeout(_WAITS_S):
                found = await self._vectors.of(passages[:_BEFORE_PUBLISHING])
        except (ModelFailure, TimeoutError) as error:
            logger.warning("a document is found by its words only, for now: %s", cause_of(error))
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self._paused_until = self._seconds() + self._pause_s
            return None
        self._pause_s = _FIRST_PAUSE_S / 2
        return found

    def published(self, document: Document, embedded: Embedded | None) -> None:
        """Have the queue embed what a version lacks that has been published with these vectors."""
        if embedded is None or document.newest.passages > _BEFORE_PUBLISHING:
            self._queue.add(DocumentParent(document.id, document.newest.number))
