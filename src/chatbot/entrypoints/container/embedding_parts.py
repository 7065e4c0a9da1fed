"""Builds the embedding model. What is slow to import is imported where it is built."""

import asyncio
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from chatbot.domain.errors import ModelFailure, ModelUnavailable
from chatbot.domain.ports.embedder import Embedder
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Telemetry
from chatbot.domain.search import Vector
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.subject import SettingsError

if TYPE_CHECKING:
    from chatbot.adapters.llm.embedding_provider import EmbeddingEndpoint

_TIMEOUT_S, _PER_TEXT_S = 20.0, 2.0
"""A slow machine takes a second for a passage, and some to load the model first."""


class LateEmbedder(Embedder):
    """Builds the model when it is called for the first time: most commands never do."""

    def __init__(self, model: str, build: Callable[[], Embedder]) -> None:
        self.model = model
        self._build = build
        self._embedder: Embedder | None = None

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        if self._embedder is None:
            self._embedder = self._build()
        return await self._embedder.embed(texts)

    async def aclose(self) -> None:
        if self._embedder is not None:
            await self._embedder.aclose()


def build_embedder(
    settings: Settings, telemetry: Telemetry, genkit_model: ChatModel | None = None
) -> Embedder | None:
    """Returns the embedding model; None if the settings name none.

    It is registered with the Genkit of the language model, if that is built by Genkit.

    Raises:
        SettingsError: the environment names an unusable proxy or certificate file.
    """
    if settings.embedding.model is None:
        return None
    from chatbot.adapters.llm import embedding_provider  # noqa: PLC0415 - slow
    from chatbot.adapters.llm.genkit_model import GenkitChatModel  # noqa: PLC0415 - slow
    from chatbot.adapters.llm.resilience import Backoff  # noqa: PLC0415 - slow

    try:
        return embedding_provider.build_embedder(
            embedding_endpoint(settings),
            ai=genkit_model.ai if isinstance(genkit_model, GenkitChatModel) else None,
            transport=settings.model.transport,
            connect_timeout_s=settings.model.connect_timeout_s,
            timeout_s=max(_TIMEOUT_S, settings.embedding.timeout_s),
            per_text_s=_PER_TEXT_S,
            backoff=Backoff(
                sleep=asyncio.sleep, random=random.random, on_retry=telemetry.count_retry
            ),
            telemetry=telemetry,
        )
    except ModelUnavailable as error:
        raise SettingsError(str(error)) from error


def build_late_embedder(settings: Settings) -> Embedder | None:
    """For commands; without telemetry."""

    def build() -> Embedder:
        embedder = build_embedder(settings, NO_TELEMETRY)
        if embedder is None:
            raise SettingsError("EMBEDDING_MODEL: is not set")
        return embedder

    name = settings.embedding.model
    return LateEmbedder(name, build) if name else None


def embedding_endpoint(settings: Settings) -> "EmbeddingEndpoint":
    """Returns where the model is served, with the names of the settings that say so."""
    from chatbot.adapters.llm.embedding_provider import EmbeddingEndpoint  # noqa: PLC0415 - slow

    used = settings.embedding.completed(settings.model)
    is_own = settings.embedding.base_url is not None
    has_own_key = is_own or settings.embedding.api_key is not None
    return EmbeddingEndpoint(
        model=used.model or "",
        base_url=used.base_url,
        api_key=used.raw_api_key,
        url_setting="EMBEDDING_BASE_URL" if is_own else "OPENAI_BASE_URL",
        key_setting="EMBEDDING_API_KEY" if has_own_key else "OPENAI_API_KEY",
    )


def describe_embedder(settings: Settings) -> str:
    """Returns which embedding model answers, and how long its vectors are.

    Raises:
        SettingsError: it does not answer; the message names the fix.
    """
    if settings.embedding.model is None:
        return "off: search is by words"
    try:
        with ThreadPoolExecutor(1) as pool:  # the caller may be inside an event loop
            length = pool.submit(asyncio.run, dimension_of(settings)).result()
    except ModelFailure as error:
        raise SettingsError(embedding_endpoint(settings).explain(error)) from error
    return f"{settings.embedding.model} answers, {length} dimensions"


async def dimension_of(settings: Settings) -> int:
    """Embeds a word, in the time that a search would wait, and returns the length of its vector.

    Raises:
        ModelFailure: the model does not answer.
    """
    embedder = build_embedder(settings, NO_TELEMETRY)
    if embedder is None:
        return 0
    from chatbot.adapters.llm.embedding_wrappers import WithEmbeddingTimeout  # noqa: PLC0415 - slow

    timed = WithEmbeddingTimeout(embedder, timeout_s=settings.embedding.timeout_s)
    try:
        return len((await timed.embed(["hello"]))[0])
    finally:
        await timed.aclose()
