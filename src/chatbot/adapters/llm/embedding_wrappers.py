"""Wrappers around an embedding model, each an embedding model itself."""

import asyncio
import logging
from collections.abc import Sequence

from chatbot.adapters.llm.resilience import Backoff
from chatbot.domain.errors import ContextTooLong, ModelTimeout, ModelUnavailable
from chatbot.domain.ports.embedder import Embedder
from chatbot.domain.ports.telemetry import Activity, Telemetry
from chatbot.domain.search import Vector

MOST_CHARS = 8000
_FEWEST_CHARS = 250

logger = logging.getLogger("chatbot.model")


class WrappedEmbedder(Embedder):
    """Base of the wrappers: delegates the model's name and closing."""

    def __init__(self, embedder: Embedder) -> None:
        self.model = embedder.model
        self._embedder = embedder

    async def aclose(self) -> None:
        await self._embedder.aclose()


class WithCuts(WrappedEmbedder):
    """Cuts long texts, and more after the model has refused a single text as too long.

    Several texts that are refused together may be too long only together.
    """

    def __init__(self, embedder: Embedder) -> None:
        super().__init__(embedder)
        self._most_chars = MOST_CHARS

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        while True:
            cut = [text[: self._most_chars] for text in texts]
            try:
                return await self._embedder.embed(cut)
            except ContextTooLong:
                if len(cut) > 1 or len(cut[0]) <= _FEWEST_CHARS:
                    raise
                self._most_chars = len(cut[0]) // 2
                logger.warning(
                    "%s takes no longer texts: they are cut at %d characters",
                    self.model,
                    self._most_chars,
                )


class WithEmbeddingRetries(WrappedEmbedder):
    """Retries when the model was unavailable."""

    def __init__(self, embedder: Embedder, backoff: Backoff) -> None:
        super().__init__(embedder)
        self._backoff = backoff

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        attempt = 1
        while True:
            try:
                return await self._embedder.embed(texts)
            except ModelUnavailable as error:
                await self._backoff.wait_or_raise(error, attempt)
            attempt += 1


class WithReports(WrappedEmbedder):
    """Reports each call as an activity."""

    def __init__(self, embedder: Embedder, telemetry: Telemetry) -> None:
        super().__init__(embedder)
        self._telemetry = telemetry

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        with self._telemetry.during(Activity.EMBEDDING):
            return await self._embedder.embed(texts)


class WithEmbeddingTimeout(WrappedEmbedder):
    """Limits each call, with its retries: more time for more texts."""

    def __init__(self, embedder: Embedder, *, timeout_s: float, per_text_s: float = 0.0) -> None:
        super().__init__(embedder)
        self._timeout_s, self._per_text_s = timeout_s, per_text_s

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        try:
            async with asyncio.timeout(self._timeout_s + len(texts) * self._per_text_s):
                return await self._embedder.embed(texts)
        except TimeoutError as error:
            raise ModelTimeout("The embedding model took too long to answer.") from error
