"""Spans, cheaply: an object with slots, which a thread of the SDK encodes and exports later.

A span that the SDK's own tracer starts, ends and encodes costs 37 us, and a turn has six. Sampler,
resource, batches and exporter are the SDK's.
"""

import random
import time
from collections.abc import Callable, Mapping
from contextvars import Token
from typing import ClassVar, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Decision, Sampler
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from chatbot.adapters.telemetry import encoding, names
from chatbot.adapters.telemetry.encoding import Value
from chatbot.domain.ports.telemetry import TraceIds, current_trace

Attributes = Mapping[str, Value]
Export = Callable[["Span"], None]
_OTLP_KINDS = {SpanKind.INTERNAL: 1, SpanKind.SERVER: 2, SpanKind.CLIENT: 3}
_NOTHING: Attributes = {}


class Span:
    """A span that has begun; inside of `with`, it is the parent of others. `end` ends it."""

    __slots__ = (
        *("_begun_ns", "_ended_ns", "_export", "_has_remote_parent", "_kind", "_parent_id"),
        *("_token", "attributes", "error_type", "ids", "name"),
    )

    context: ClassVar[SpanContext] = SpanContext(
        1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
    """What the SDK's processor reads from a span: whether to export it.

    All spans that reach it are exported.
    """

    def __init__(
        self,
        export: Export,
        name: str,
        kind: SpanKind,
        ids: TraceIds,
        parent_id: int,
        *,
        has_remote_parent: bool = False,
    ) -> None:
        self._export, self.name, self._kind = export, name, kind
        self.ids, self._parent_id, self._has_remote_parent = ids, parent_id, has_remote_parent
        self.attributes, self.error_type = _NOTHING, ""
        self._begun_ns = self._ended_ns = time.time_ns()
        self._token: Token[TraceIds | None] | None = None

    @property
    def is_sampled(self) -> bool:
        return self.ids[2]

    def __enter__(self) -> Self:
        self._token = current_trace.set(self.ids)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: object) -> None:
        if self._token is not None:
            current_trace.reset(self._token)
        is_failure = kind is not None and issubclass(kind, Exception)
        self.end(kind.__name__ if is_failure and kind is not None else "")

    def current(self) -> "_Current":
        """Make it the current span inside `with`. It does not end with the block."""
        return _Current(self.ids)

    def end(self, error_type: str = "") -> None:
        """End the span. With an `error_type` it has failed; an error's text is never exported."""
        if self.ids[2]:
            self.error_type = error_type
            self._ended_ns = time.time_ns()
            self._export(self)

    def encoded(self) -> bytes:
        """The span in the bytes of OTLP."""
        error = {names.ERROR_TYPE: self.error_type} if self.error_type else {}
        trace_id, span_id, _, trace_state = self.ids
        return encoding.span(
            self.name,
            _OTLP_KINDS[self._kind],
            (trace_id, span_id, self._parent_id),
            (self._begun_ns, self._ended_ns),
            {**self.attributes, **error} if error else self.attributes,
            trace_state=trace_state,
            is_error=bool(error),
            has_remote_parent=self._has_remote_parent,
        )


class _Current:
    __slots__ = ("_ids", "_token")

    def __init__(self, ids: TraceIds) -> None:
        self._ids = ids
        self._token: Token[TraceIds | None] | None = None

    def __enter__(self) -> None:
        self._token = current_trace.set(self._ids)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            current_trace.reset(self._token)


class Tracer:
    """Begins spans. The sampler decides for the first span of a trace, the others follow it."""

    def __init__(self, sampler: Sampler, export: Export) -> None:
        self._sampler, self._export = sampler, export
        self._samples_all = sampler is DEFAULT_ON

    def begin(self, name: str, kind: SpanKind = SpanKind.INTERNAL) -> Span:
        """Begin a part of the current span, or a trace if there is none."""
        current = current_trace.get()
        if current is None:
            return self.begin_trace(name, kind)
        trace_id, parent_id, is_sampled, trace_state = current
        ids = (trace_id, random.getrandbits(64), is_sampled, trace_state)
        return Span(self._export, name, kind, ids, parent_id)

    def begin_trace(
        self, name: str, kind: SpanKind = SpanKind.INTERNAL, caller: Context | None = None
    ) -> Span:
        """Begin a trace, or the local part of the `caller`'s."""
        if caller is None and self._samples_all:
            ids = (random.getrandbits(128), random.getrandbits(64), True, "")
            return Span(self._export, name, kind, ids, 0)
        remote = trace.get_current_span(caller).get_span_context()
        trace_id = remote.trace_id if remote.is_valid else random.getrandbits(128)
        decided = self._sampler.should_sample(caller, trace_id, name, kind)
        state = decided.trace_state.to_header() if decided.trace_state else ""
        is_sampled = decided.decision is Decision.RECORD_AND_SAMPLE
        ids = (trace_id, random.getrandbits(64), is_sampled, state)
        parent_id = remote.span_id if remote.is_valid else 0
        return Span(self._export, name, kind, ids, parent_id, has_remote_parent=remote.is_valid)
