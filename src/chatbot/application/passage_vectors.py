"""Turns passages into vectors, some at a time, and gets by without those that the model refuses."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from chatbot.domain.errors import (
    ModelError,
    ModelFailure,
    ModelTimeout,
    ModelUnavailable,
    PromptRefused,
    cause_of,
)
from chatbot.domain.ports.embedder import Embedder
from chatbot.domain.search import Embedded, Passage, Vector, rounded

logger = logging.getLogger("chatbot.search")

_MOST_AT_ONCE = 64
_MOST_CHARS_AT_ONCE = 100_000
_MOST_REFUSALS = 16
"""So many in a row are not about texts: two texts among 64 that are refused make ten at most."""
_SLOW_BELOW = 16
"""A call with fewer texts that takes too long is not tried with fewer still."""
_ABOUT_TEXTS = frozenset({None, 200, 400, 403, 413, 422, 451})
"""The status of errors that another text may not cause; None: the answer was unusable.

A firewall in front of the provider answers 403 to some texts.
"""
_FIRST_PAUSE_S = 1.0


class PassageVectors:
    """Embeds passages.

    Args:
        at_once: texts of a call. Reading the vectors of 64 texts takes 20 ms on the event loop.
        patience_s: how long to wait in all for a provider that is busy, for each call.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        at_once: int = _MOST_AT_ONCE,
        patience_s: float = 0.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._embedder, self._patience_s, self._sleep = embedder, patience_s, sleep
        self._at_once = min(at_once, _MOST_AT_ONCE)
        self._refusals = 0

    @property
    def model(self) -> str:
        return self._embedder.model

    @property
    def at_once(self) -> int:
        """How many texts a call has at most."""
        return self._at_once

    async def of(self, passages: Sequence[Passage]) -> Embedded:
        """Return the vectors of the passages, without those that the model refuses.

        Raises:
            ModelFailure: the provider fails for other reasons than a text.
        """
        vectors = await self.of_texts([text_of(each) for each in passages])
        return self.embedded(passages, vectors)

    def embedded(self, passages: Sequence[Passage], vectors: Sequence[Vector | None]) -> Embedded:
        """Return the vectors of these passages by their numbers."""
        pairs = zip(passages, vectors, strict=True)
        return Embedded(
            model=self.model,
            vectors={each.seq: found for each, found in pairs if found is not None},
        )

    async def of_texts(self, texts: Sequence[str]) -> Sequence[Vector | None]:
        """Return the vector of each text, all of one length; None if the model refuses it.

        Raises:
            ModelFailure: the provider fails for other reasons than a text.
        """
        found: list[Vector | None] = []
        while len(found) < len(texts):
            batch = _fitting(texts[len(found) :], self._at_once)
            found += await self._of_batch(batch)
        if len({len(each) for each in found if each is not None}) > 1:
            raise ModelError("The embedding model has changed the length of its vectors.")
        return found

    async def dimension(self) -> int:
        """Return the length of the model's vectors.

        Raises:
            ModelFailure: the provider fails.
        """
        (vector,) = await self._asked(["hello"])
        return len(vector)

    async def _of_batch(self, texts: Sequence[str]) -> Sequence[Vector | None]:
        try:
            found = await self._asked(texts)
        except ModelFailure as error:
            self._refusals += 1
            if self._refusals > _MOST_REFUSALS or not _is_about(texts, error):
                self._refusals = 0
                raise
            if len(texts) > 1:
                return await self._of_halves(texts)
            logger.warning("a passage is found by its words only: %s", cause_of(error))
            return [None]
        self._refusals = 0
        return found

    async def _of_halves(self, texts: Sequence[str]) -> Sequence[Vector | None]:
        """Embed half of the texts at a time; if that was all they needed, do so from now on."""
        half = len(texts) // 2
        first = await self._of_batch(texts[:half])
        both_went_well = self._refusals == 0
        found = [*first, *await self._of_batch(texts[half:])]
        if both_went_well and self._refusals == 0 and None not in found:
            self._at_once = min(self._at_once, len(texts) - half)
        return found

    async def _asked(self, texts: Sequence[str]) -> Sequence[Vector]:
        waited_s, pause_s = 0.0, _FIRST_PAUSE_S
        while True:
            try:
                found = await self._embedder.embed(texts)
                return await asyncio.to_thread(_all_rounded, found)
            except ModelUnavailable as error:
                wait_s = max(pause_s, error.retry_after_s or 0.0)
                if not _is_busy(error) or waited_s + wait_s > self._patience_s:
                    raise
                await self._sleep(wait_s)
                waited_s, pause_s = waited_s + wait_s, pause_s * 2


def _all_rounded(vectors: Sequence[Vector]) -> Sequence[Vector]:
    """Rounding takes too long for the event loop, and for a transaction."""
    return [rounded(each) for each in vectors]


def text_of(passage: Passage) -> str:
    """Return what is embedded of a passage: its text, with the headings above it."""
    return f"{passage.heading}\n{passage.text}" if passage.heading else passage.text


def _fitting(texts: Sequence[str], most: int) -> Sequence[str]:
    """Return as many of the first texts as one call takes."""
    chars = 0
    for count, text in enumerate(texts[:most]):
        chars += len(text)
        if count and chars > _MOST_CHARS_AT_ONCE:
            return texts[:count]
    return texts[:most]


def _is_about(texts: Sequence[str], error: ModelFailure) -> bool:
    """Whether other texts, or fewer of them, may go well."""
    if isinstance(error, ModelTimeout):
        return len(texts) >= _SLOW_BELOW
    if isinstance(error, ModelUnavailable):
        return _is_failing(error)
    return isinstance(error, PromptRefused) or error.status in _ABOUT_TEXTS


def _is_busy(error: ModelUnavailable) -> bool:
    """Whether the provider has answered that it may be asked again."""
    return error.status is not None and not _is_failing(error)


def _is_failing(error: ModelUnavailable) -> bool:
    """Whether the provider failed on the request, and is not only busy: some do on odd texts."""
    return error.status == 500
