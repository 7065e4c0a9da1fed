"""Logging: one line per event on stderr, as text on a terminal and as JSON elsewhere.

Configured before genkit is imported, which would otherwise configure logging itself. Log lines
never contain prompts, answers, secrets or query strings; as a safeguard, one processor removes
whatever looks like a secret.
"""

import atexit
import logging
import os
import re
import sys
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from chatbot.domain.ports.telemetry import current_trace
from chatbot.domain.text import visible, visible_line
from chatbot.entrypoints.log_stream import UnblockedStream

_SECRET_NAMES = re.compile(r"(?i)password|secret|token$|api_key|authorization|cookie")
_SECRET_VALUES = re.compile(
    r"(?i)(bearer\s+\S+|eyJ[\w-]+\.[\w-]+\.[\w-]+|\$argon2\S+|\bsk-[\w-]{8,})"
)

_CHATTY = ("aiohttp", "alembic", "asyncio", "genkit", "httpx", "httpx2", "openai", "uvicorn")
"""Libraries whose `info` lines repeat ours or are not needed."""


_C1_AND_BIDI = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_MAX_CHARS = 64
"""Maximum length of a value: some are a caller's text, such as the request method."""

_LONG_FIELDS = {"event": 2000, "cause": 1000, "exception": 20_000, "stack": 20_000}
_MULTILINE_FIELDS = frozenset({"exception", "stack"})

EXIT_WITHIN_S = 1.0
"""How long a process waits on exit for unread log lines."""


class _Warnings(structlog.WriteLogger):
    """For libraries that use structlog (genkit): below `warning` they quote prompts and keys."""

    def debug(self, message: str) -> None:
        """Discard the message."""

    info = debug


class _OnceASecond(logging.Filter):
    """Passes a message at most once a second.

    When no descriptors are left, asyncio logs this for each of the up to 2,048 waiting connections.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last_logged: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        last = self._last_logged.get(record.msg, 0.0)
        is_new = not 0 <= record.created - last < 1
        if is_new:
            self._last_logged = {record.msg: record.created}
        return is_new


def configure(
    level: str, form: Literal["text", "json"] | None, *, with_pid: bool = False
) -> UnblockedStream:
    """Send the records of structlog and the standard library through one chain to stderr.

    Returns the stream, for a process that exits without `atexit`. `with_pid` adds the process id,
    for several processes that write to the same place.
    """
    as_text = form == "text" or (form is None and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        *([_add_pid] if with_pid else []),
        structlog.processors.format_exc_info,
        _redact_and_cut,
        _add_trace,
    ]
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), timestamp_key="time")
    last: list[Processor] = [_escape, console] if as_text else [_to_json]
    stream = UnblockedStream(sys.stderr, is_shared=with_pid, on_dropped=_log_dropped)
    atexit.register(stream.drain, EXIT_WITHIN_S)
    file = cast("TextIO", stream)  # the part of a logger's interface that is used
    ours, others = structlog.WriteLogger(file), _Warnings(file)
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *name: ours if "".join(name).startswith("chatbot.") else others,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").filters = [_OnceASecond()]
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # an outage is logged once, by us
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    return stream


def _add_pid(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {**event, "pid": os.getpid()}


def _add_trace(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Name the trace and the span that the line belongs to, as the exporter writes them."""
    trace = current_trace.get()
    if trace is not None:
        event["trace_id"], event["span_id"] = f"{trace[0]:032x}", f"{trace[1]:016x}"
    return event


def _redact_and_cut(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Remove secrets, recognised by name or form, and truncate each value."""
    for name, value in event.items():
        if isinstance(value, str):
            hidden = _SECRET_NAMES.search(name)
            text = "[redacted]" if hidden else _SECRET_VALUES.sub("[redacted]", value)
            limit = _LONG_FIELDS.get(name, _MAX_CHARS)
            event[name] = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return event


def _escape(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Escape characters that would control a terminal or start another line."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = visible(value) if name in _MULTILINE_FIELDS else visible_line(value)
    return event


_render_json = structlog.processors.JSONRenderer(ensure_ascii=False)


def _to_json(logger: WrappedLogger, name: str, event: EventDict) -> str:
    """Render as JSON, and escape C1 control characters, which plain JSON leaves as they are."""
    return _C1_AND_BIDI.sub(
        lambda found: f"\\u{ord(found[0]):04x}", str(_render_json(logger, name, event))
    )


def _log_dropped(count: int) -> None:
    structlog.get_logger("chatbot.logs").warning(
        "log lines were dropped: the reader of stderr was too slow", count=count
    )
