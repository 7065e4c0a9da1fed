"""The vectors of questions: each is computed once, within a time limit, and a search never fails
because of it.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict

from chatbot.adapters.search.vectors import Quantised
from chatbot.domain.errors import ModelFailure, ModelTimeout, ModelUnavailable, cause_of
from chatbot.domain.ports.embedder import Embedder

_REMEMBERED = 64
"""A turn searches messages and documents for the same question, and a follow-up for the one before."""
_PAUSE_S = 10.0
"""After a failure, only words are searched for this long, so that not every question waits for it."""
_NO_ANSWER = (ModelTimeout, ModelUnavailable, TimeoutError)
_LOGGED_EACH_S = 60.0
_log = logging.getLogger("chatbot.search")

_Made = asyncio.Task[Quantised | None]


class QuestionVectors:
    """Embeds questions. They are remembered by their digests, not by their texts."""

    def __init__(self, embedder: Embedder, *, timeout_s: float) -> None:
        self.model = embedder.model
        self._embedder, self._timeout_s = embedder, timeout_s
        self._made: OrderedDict[bytes, _Made] = OrderedDict()
        self._paused_until = self._logged_at = float("-inf")

    async def of(self, question: str) -> Quantised | None:
        """Returns the vector of a question; None if the embedding model does not return one."""
        key = hashlib.blake2b(question.encode(errors="replace"), digest_size=16).digest()
        made = self._made.get(key)
        if made is None:
            if asyncio.get_running_loop().time() < self._paused_until:
                return None
            made = self._made[key] = asyncio.create_task(self._embedded(key, question))
            if len(self._made) > _REMEMBERED:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(key)
        return await asyncio.shield(made)  # another search waits for it, too

    async def aclose(self) -> None:
        """End the calls that have not been answered."""
        pending = [task for task in self._made.values() if not task.done()]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _embedded(self, key: bytes, question: str) -> Quantised | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                (vector,) = await self._embedder.embed([question])
            return Quantised.of(vector)
        except (ModelFailure, TimeoutError, ValueError) as error:
            self._made.pop(key, None)
            self._note(error)
            return None

    def _note(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(error, _NO_ANSWER):
            self._paused_until = now + _PAUSE_S
        if now - self._logged_at >= _LOGGED_EACH_S:
            self._logged_at = now
            _log.warning(
                "Only words are searched for: %s did not embed a question: %s",
                self.model,
                cause_of(error),
            )
