"""A language model whose calls are reported by the semantic conventions for generative AI."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from opentelemetry.trace import SpanKind

from chatbot.adapters.llm.resilience import Wrapped
from chatbot.adapters.telemetry import names
from chatbot.adapters.telemetry.content import content_of_answer, content_of_request
from chatbot.adapters.telemetry.encoding import Value
from chatbot.adapters.telemetry.metrics import HistogramSeries, Labels, Metrics
from chatbot.adapters.telemetry.names import ModelMetrics
from chatbot.adapters.telemetry.session import current_session
from chatbot.adapters.telemetry.tracing import Attributes, Tracer
from chatbot.domain.errors import ModelFailure
from chatbot.domain.ports.model import ChatModel, Completion, ModelRequest, Task, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReports:
    """How calls of one model are reported.

    `labels` are those of each metric. With `captures_content`, prompts and answers become
    attributes of the spans.
    """

    tracer: Tracer
    metrics: Metrics
    names: ModelMetrics
    model: str
    labels: Labels
    temperature: float | None
    captures_content: bool
    first_chunk: HistogramSeries
    later_chunks: HistogramSeries


class TracedModel(Wrapped):
    """Delegates to another model."""

    def __init__(self, model: ChatModel, reports: ModelReports) -> None:
        super().__init__(model)
        self._reports = reports

    async def complete(self, request: ModelRequest) -> Completion:
        with _Call(self._reports, request, is_stream=False) as call:
            call.completion = await self._model.complete(request)
            return call.completion

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        with _Call(self._reports, request, is_stream=True) as call:
            async with aclosing(self._model.stream(request)) as pieces:
                async for piece in pieces:
                    call.receive(piece)
                    yield piece


class _Call:
    """One call. Its span is never the current one: a stream is read in many contexts."""

    def __init__(self, reports: ModelReports, request: ModelRequest, *, is_stream: bool) -> None:
        self._reports, self._request, self._is_stream = reports, request, is_stream
        self.completion: Completion | None = None
        self._first_chunk_s: float | None = None

    def __enter__(self) -> Self:
        name = f"{names.CHAT} {self._reports.model}"
        self._span = self._reports.tracer.begin(name, SpanKind.CLIENT)
        self._began = self._last = time.perf_counter()
        return self

    def receive(self, piece: str | Completion) -> None:
        """Record a chunk of the stream, or its end."""
        if isinstance(piece, Completion):
            self.completion = piece
            return
        now = time.perf_counter()
        if self._first_chunk_s is None:
            self._first_chunk_s = now - self._began
            self._reports.first_chunk.record(self._first_chunk_s)
        else:
            self._reports.later_chunks.record(now - self._last)
        self._last = now

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        duration_s, error_type = time.perf_counter() - self._began, _type_of(error)
        labels = self._reports.labels
        if error_type is not None:
            labels = {**labels, names.ERROR_TYPE: error_type}
        duration = self._reports.metrics.histogram(self._reports.names.duration, labels)
        duration.record(duration_s)
        usage = self.completion.usage if self.completion else None
        if usage is not None:
            self._count(usage)
        if self._span.is_sampled:
            self._span.attributes = self._attributes(usage)
        self._span.end(error_type or "")

    def _count(self, usage: Usage) -> None:
        """Report the provider's counts: one metric by type, or one for each type."""
        metrics, labels, used = self._reports.metrics, self._reports.labels, self._reports.names
        counts = (
            ("input", used.input_tokens, usage.input_tokens),
            ("output", used.output_tokens, usage.output_tokens),
        )
        for kind, counter, tokens in counts:
            if used.tokens is not None:
                by_type = metrics.histogram(used.tokens, {**labels, names.TOKEN_TYPE: kind})
                by_type.record(tokens)
            if counter is not None:
                by_modality = {**labels, names.TOKEN_MODALITY: names.TEXT}
                metrics.counter(counter, by_modality).add(tokens)

    def _attributes(self, usage: Usage | None) -> Attributes:
        request, completion = self._request, self.completion
        is_json = request.task is Task.EXTRACT_MEMORY
        found: dict[str, Value] = {
            **self._reports.labels,
            names.REQUEST_MAX_TOKENS: request.max_output_tokens,
            names.REQUEST_STREAM: self._is_stream,
            names.OUTPUT_TYPE: names.JSON if is_json else names.TEXT,
        }
        optional = {
            names.CONVERSATION: current_session.get(),
            names.REQUEST_TEMPERATURE: self._reports.temperature,
            names.TIME_TO_FIRST_CHUNK: self._first_chunk_s,
            names.INPUT_TOKENS: usage.input_tokens if usage else None,
            names.OUTPUT_TOKENS: usage.output_tokens if usage else None,
            names.FINISH_REASONS: (str(completion.finish_reason),) if completion else None,
        }
        found |= {name: value for name, value in optional.items() if value is not None}
        if self._reports.captures_content:
            found |= content_of_request(request)
            found |= content_of_answer(completion) if completion else {}
        return found


def _type_of(error: BaseException | None) -> str | None:
    """The provider's status, or the class of our error; a client that disconnects is not an error."""
    if isinstance(error, ModelFailure):
        return str(error.status or type(error).__name__)
    return type(error).__name__ if isinstance(error, Exception) else None
