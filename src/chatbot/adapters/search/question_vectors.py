"""The vectors of questions: computed within a time limit, and a search never fails because of them."""

import asyncio
import logging

from chatbot.adapters.search.vectors import Quantised
from chatbot.domain.errors import ModelFailure, ModelTimeout, ModelUnavailable, cause_of
from chatbot.domain.ports.embedder import Embedder

_PAUSE_S = 10.0
"""After a failure, only words are searched for this long, so that not every question waits for it."""
_NO_ANSWER = (ModelTimeout, ModelUnavailable, TimeoutError)
_LOGGED_EACH_S = 60.0
_log = logging.getLogger("chatbot.search")


class QuestionVectors:
    """Embeds questions.

    A turn searches messages and documents for one question at the same time: these searches share the
    call. Afterwards it is not remembered, as a faster answer would tell that others have asked it.
    """

    def __init__(self, embedder: Embedder, *, timeout_s: float) -> None:
        self.model = embedder.model
        self._embedder, self._timeout_s = embedder, timeout_s
        self._pending: dict[str, asyncio.Task[Quantised | None]] = {}
        self._paused_until = self._logged_at = float("-inf")

    async def of(self, question: str) -> Quantised | None:
        """Returns the vector of a question; None if the embedding model does not return one."""
        task = self._pending.get(question)
        if task is None:
            if asyncio.get_running_loop().time() < self._paused_until:
                return None
            task = self._pending[question] = asyncio.create_task(self._embedded(question))
        return await asyncio.shield(task)  # another search waits for it, too

    async def aclose(self) -> None:
        """End the calls that have not been answered."""
        pending = [*self._pending.values()]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _embedded(self, question: str) -> Quantised | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                (vector,) = await self._embedder.embed([question])
            return Quantised.of(vector)
        except (ModelFailure, TimeoutError, ValueError) as error:
            self._note(error)
            return None
        finally:
            del self._pending[question]

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
