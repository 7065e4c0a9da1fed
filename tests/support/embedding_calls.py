"""Embedding models over the fake provider, and one that needs none."""

from collections.abc import Awaitable, Callable, Sequence

from chatbot.adapters.llm.embedding_provider import EmbeddingEndpoint, build_embedder
from chatbot.adapters.llm.provider import TransportName
from chatbot.adapters.llm.resilience import Backoff
from chatbot.domain.ports.embedder import Embedder
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Telemetry
from chatbot.domain.search import Vector
from meaning import DIMENSION, vector_of

MODEL = "openai/bge-m3"


def endpoint(base_url: str, model: str = MODEL) -> EmbeddingEndpoint:
    return EmbeddingEndpoint(
        model=model,
        base_url=base_url,
        api_key="sk-ours",
        url_setting="EMBEDDING_BASE_URL",
        key_setting="EMBEDDING_API_KEY",
    )


def embedder_at(
    base_url: str,
    *,
    model: str = MODEL,
    transport: TransportName = "aiohttp",
    timeout_s: float = 20,
    per_text_s: float = 0.0,
    sleep: Callable[[float], Awaitable[None]] | None = None,
    telemetry: Telemetry = NO_TELEMETRY,
) -> Embedder:
    """The model of a provider, which retries at once unless a `sleep` is given."""
    return build_embedder(
        endpoint(base_url, model),
        ai=None,
        transport=transport,
        connect_timeout_s=3,
        timeout_s=timeout_s,
        per_text_s=per_text_s,
        backoff=Backoff(sleep=sleep or _at_once, random=lambda: 0.5),
        telemetry=telemetry,
    )


class FakeEmbedder(Embedder):
    """Makes the vectors of `meaning`; `answer` may raise, or return others.

    `meanwhile` is done during each call.
    """

    def __init__(self, *, dimension: int = DIMENSION, model: str = MODEL) -> None:
        self.model, self.dimension = model, dimension
        self.calls: list[Sequence[str]] = []
        self.answer: Callable[[Sequence[str]], Sequence[Vector] | None] = lambda _: None
        self.meanwhile: Callable[[], Awaitable[object]] = _nothing
        self.is_closed = False

    @property
    def texts(self) -> list[str]:
        """All texts that it was called with."""
        return [text for call in self.calls for text in call]

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        self.calls.append(list(texts))
        await self.meanwhile()
        return self.answer(texts) or [vector_of(text, self.dimension) for text in texts]

    async def aclose(self) -> None:
        self.is_closed = True


async def _nothing() -> None:
    return


async def _at_once(_: float) -> None:
    return
