"""Builds the embedding model of the configured provider."""

from collections.abc import Mapping
from dataclasses import dataclass

from genkit import Genkit

from chatbot.adapters.llm.diagnosis import explanation
from chatbot.adapters.llm.embedding_wrappers import (
    WithCuts,
    WithEmbeddingRetries,
    WithEmbeddingTimeout,
    WithReports,
)
from chatbot.adapters.llm.genkit_embedder import GenkitEmbedder
from chatbot.adapters.llm.network import OPENAI_URL
from chatbot.adapters.llm.provider import TransportName, build_transports
from chatbot.adapters.llm.resilience import Backoff
from chatbot.domain.errors import ModelFailure
from chatbot.domain.ports.embedder import Embedder
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Telemetry

MOST_AT_ONCE = 64
"""Texts of a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingEndpoint:
    """Where the model is served. `url_setting` and `key_setting` are what texts name."""

    model: str
    base_url: str | None
    api_key: str | None
    url_setting: str
    key_setting: str

    @property
    def names(self) -> Mapping[str, str]:
        """Replacements in texts that are about the language model."""
        return {
            "language model": "embedding model",
            "GENKIT_MODEL": "EMBEDDING_MODEL",
            "OPENAI_BASE_URL": self.url_setting,
            "OPENAI_API_KEY": self.key_setting,
        }

    def explain(self, error: ModelFailure) -> str:
        """Return one line about what failed between here and the provider, and the fix."""
        text = explanation(error, self.base_url or OPENAI_URL)
        for name, ours in self.names.items():
            text = text.replace(name, ours)
        return text


def build_embedder(
    endpoint: EmbeddingEndpoint,
    *,
    ai: Genkit | None,
    transport: TransportName,
    connect_timeout_s: float,
    timeout_s: float,
    per_text_s: float = 0.0,
    backoff: Backoff,
    telemetry: Telemetry = NO_TELEMETRY,
) -> Embedder:
    """Build the model with its wrappers. Nothing is connected or called.

    The embedder is registered with `ai`, or with a Genkit of its own. `timeout_s`, and
    `per_text_s` for each text, limit a call with its retries.

    Raises:
        ProxyConfigurationError: the environment names an unusable proxy or certificate file.
    """
    used, _ = build_transports(
        transport,
        api_key=endpoint.api_key,
        base_url=endpoint.base_url,
        connect_timeout_s=connect_timeout_s,
        total_timeout_s=timeout_s + MOST_AT_ONCE * per_text_s,
    )
    model = GenkitEmbedder(
        ai or Genkit(prompt_dir=""),
        endpoint.model,
        used,
        names=endpoint.names,
        on_tokens=telemetry.count_embedding_tokens,
    )
    timed = WithEmbeddingTimeout(
        WithCuts(WithEmbeddingRetries(model, backoff)), timeout_s=timeout_s, per_text_s=per_text_s
    )
    return WithReports(timed, telemetry)
