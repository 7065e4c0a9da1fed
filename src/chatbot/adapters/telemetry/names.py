"""Every name that telemetry uses: spans, attributes and metrics. docs/telemetry.md lists them.

The names that begin with `gen_ai.` are those of the semantic conventions for generative AI, v1.41;
`LATEST` are those of the conventions' own repository, which replaced them.
"""

from dataclasses import dataclass
from typing import Literal

SCOPE = "chatbot"

# Spans. A server span is named by method and route, a model call `chat {model}`.
SPAN_TRANSACTION = "storage.transaction"
SPAN_PROMPT = "prompt.build"
SPAN_LEASE_WAIT = "session.lease.wait"
SPAN_CONSOLIDATION = "consolidation"
SPAN_INGESTION = "ingestion"
SPAN_EMBEDDING = "embedding"

# Attributes
ERROR_TYPE = "error.type"
HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
URL_PATH = "url.path"
URL_SCHEME = "url.scheme"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

STORAGE_OPERATION = "chatbot.storage.operation"
STATE = "state"
REASON = "reason"
ACTION, OUTCOME = "action", "outcome"
WORKER = "worker"

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
CONVERSATION = "gen_ai.conversation.id"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_STREAM = "gen_ai.request.stream"
OUTPUT_TYPE = "gen_ai.output.type"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - a name
TOKEN_MODALITY = "gen_ai.token.modality"  # noqa: S105 - a name
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"

CHAT = "chat"
TEXT, JSON = "text", "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """An instrument; `buckets` are the boundaries of a histogram."""

    name: str
    kind: Literal["counter", "histogram", "observed"]
    unit: str
    description: str
    buckets: tuple[float, ...] = ()


_SHORT_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_HTTP_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120)
# Both as the conventions advise.
_MODEL_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(float(4**n) for n in range(14))


def _histogram(name: str, unit: str, buckets: tuple[float, ...], description: str) -> Metric:
    return Metric(name=name, kind="histogram", unit=unit, description=description, buckets=buckets)


def _counter(name: str, unit: str, description: str) -> Metric:
    return Metric(name=name, kind="counter", unit=unit, description=description)


def _observed(name: str, unit: str, description: str) -> Metric:
    return Metric(name=name, kind="observed", unit=unit, description=description)


HTTP_DURATION = _histogram(
    "http.server.request.duration",
    "s",
    _HTTP_S,
    "Duration of HTTP requests, including the whole stream.",
)
TURNS = _counter("chatbot.turns", "{turn}", "Finished turns, by outcome.")
TURNS_ACTIVE = _observed("chatbot.turns.active", "{turn}", "Turns in progress.")
LEASE_WAIT = _histogram(
    "chatbot.session.lease.wait",
    "s",
    _SHORT_S,
    "Time spent waiting for a session that another turn held.",
)
TRANSACTION_DURATION = _histogram(
    "chatbot.storage.transaction.duration", "s", _SHORT_S, "Duration of transactions."
)
CONSOLIDATION_DURATION = _histogram(
    "chatbot.consolidation.duration", "s", _MODEL_S, "Duration of runs that update memory."
)
CONSOLIDATION_BACKLOG = _observed(
    "chatbot.consolidation.backlog",
    "{session}",
    "Sessions whose memory is being updated or waiting to be.",
)
INGESTION_DURATION = _histogram(
    "chatbot.ingestion.duration", "s", _MODEL_S, "Duration of extracting and indexing a document."
)
MODEL_RETRIES = _counter("chatbot.model.retries", "{retry}", "Retried calls to the provider.")
EMBEDDING_DURATION = _histogram(
    "chatbot.embedding.duration", "s", _MODEL_S, "Duration of calls of the embedding model."
)
EMBEDDING_TOKENS = _counter(
    "chatbot.embedding.tokens", "{token}", "Tokens of the texts sent to the embedding model."
)
AUTH_FAILURES = _counter(
    "chatbot.auth.failures", "{request}", "Requests that were not authenticated, by error code."
)
BUDGET_REJECTIONS = _counter(
    "chatbot.budget.rejections",
    "{request}",
    "Requests rejected by a limit or budget, by error code.",
)
AUDIT_EVENTS = _counter("chatbot.audit.events", "{event}", "Events written to the audit journal.")

OWN = (
    HTTP_DURATION,
    TURNS,
    TURNS_ACTIVE,
    LEASE_WAIT,
    TRANSACTION_DURATION,
    CONSOLIDATION_DURATION,
    CONSOLIDATION_BACKLOG,
    INGESTION_DURATION,
    MODEL_RETRIES,
    EMBEDDING_DURATION,
    EMBEDDING_TOKENS,
    AUTH_FAILURES,
    BUDGET_REJECTIONS,
    AUDIT_EVENTS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetrics:
    """The metrics of model calls. `tokens` distinguishes its two uses by `gen_ai.token.type`."""

    duration: Metric
    time_to_first_chunk: Metric
    time_per_output_chunk: Metric
    tokens: Metric | None = None
    input_tokens: Metric | None = None
    output_tokens: Metric | None = None

    @property
    def all(self) -> tuple[Metric, ...]:
        times = (self.duration, self.time_to_first_chunk, self.time_per_output_chunk)
        counts = (self.tokens, self.input_tokens, self.output_tokens)
        return (*times, *(metric for metric in counts if metric is not None))


def _times(prefix: str) -> tuple[Metric, Metric, Metric]:
    return (
        _histogram(f"{prefix}.duration", "s", _MODEL_S, "Duration of model calls, with retries."),
        _histogram(
            f"{prefix}.time_to_first_chunk", "s", _MODEL_S, "Time to the first chunk of a stream."
        ),
        _histogram(
            f"{prefix}.time_per_output_chunk", "s", _MODEL_S, "Time between chunks of a stream."
        ),
    )


_DURATION, _FIRST, _PER_CHUNK = _times("gen_ai.client.operation")
V1_41 = ModelMetrics(
    duration=_DURATION,
    time_to_first_chunk=_FIRST,
    time_per_output_chunk=_PER_CHUNK,
    tokens=_histogram(
        "gen_ai.client.token.usage", "{token}", _TOKENS, "Tokens of model calls, by type."
    ),
)
_DURATION, _FIRST, _PER_CHUNK = _times("gen_ai.client.inference")
LATEST = ModelMetrics(
    duration=_DURATION,
    time_to_first_chunk=_FIRST,
    time_per_output_chunk=_PER_CHUNK,
    input_tokens=_counter(
        "gen_ai.client.inference.usage.input_tokens", "{token}", "Input tokens of model calls."
    ),
    output_tokens=_counter(
        "gen_ai.client.inference.usage.output_tokens", "{token}", "Output tokens of model calls."
    ),
)
