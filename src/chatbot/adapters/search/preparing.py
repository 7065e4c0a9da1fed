"""Analyses the passages of a parent; if there are many, in a process of its own.

A document of 500 pages takes a second.
"""

import asyncio
from collections.abc import Sequence
from itertools import chain

from chatbot.adapters.search.apart import run_apart
from chatbot.adapters.search.stored_index import SEGMENT_AT_ONCE, PreparedPassages, prepared
from chatbot.domain.search import Passage

_SENT_AT_ONCE = 256


async def prepared_apart(parent: str, passages: Sequence[Passage]) -> PreparedPassages:
    """Return the passages as the index stores them; a cancelled call ends its process.

    Raises:
        ProcessFailed: the process was killed.
    """
    if len(passages) < SEGMENT_AT_ONCE:
        return await asyncio.to_thread(prepared, parent, passages)
    starts = range(0, len(passages), _SENT_AT_ONCE)
    parts = [passages[first : first + _SENT_AT_ONCE] for first in starts]
    return await run_apart(_prepared, parent, *parts)


def _prepared(parent: str, *parts: Sequence[Passage]) -> PreparedPassages:
    return prepared(parent, [*chain.from_iterable(parts)])
