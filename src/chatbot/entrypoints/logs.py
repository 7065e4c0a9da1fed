"""Logs: one line an event on stderr, as text on a terminal and as JSON elsewhere.

Configured before genkit is imported, which else would choose for us. Never holds prompts,
answers, secrets or query strings; one processor removes what looks like a secret all the same.
"""

import atexit
import logging
import os
import re
import sys
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from chatbot.domain.text import visible, visible_line
from chatbot.entrypoints.log_stream import UnblockedStream

_SECRET_NAMES = re.compile(r"(?i)password|secret|token$|api_key|authorization|cookie")
_SECRET_VALUES = re.compile(
    r"(?i)(bearer\s+\S+|eyJ[\w-]+\.[\w-]+\.[\w-]+|\$argon2\S+|\bsk-[\w-]{8,})"
)

_CHATTY = ("aiohttp", "alembic", "asyncio", "genkit", "httpx", "httpx2", "openai", "uvicorn")
"""Libraries that tell at `info` what our own line says already, or what nobody asked."""


_COMMANDING = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_MAX_CHARS = 64
"""Longest value of a field: some are a caller's text, as the method of a request is."""

_LONG_FIELDS = {"event": 2000, "cause": 1000, "exception": 20_000, "stack": 20_000}
_OF_SEVERAL_LINES = frozenset({"exception", "stack"})

EXIT_WITHIN_S = 1.0
"""How long a process waits at its end for lines that nobody reads."""


class _Warnings(structlog.WriteLogger):
    """For libraries with structlog (genkit): below `warning` they quote prompts and keys."""

    def debug(self, message: str) -> None:
        """Say nothing."""

    info = debug


class _OnceASecond(logging.Filter):
    """Lets a message pass once a second.

    Where no descriptor is left, asyncio tells so for each of the 2,048 connections that may wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        last = self._told.get(record.msg, 0.0)
        is_new = not 0 <= record.created - last < 1
        if is_new:
            self._told = {record.msg: record.created}
        return is_new


def configure(
    level: str, form: Literal["text", "json"] | None, *, with_pid: bool = False
) -> UnblockedStream:
    """Send structlog's and the standard library's records through one chain to stderr.

    Returns the stream, for a process that ends without `atexit`. `with_pid` names the process in each line, where several write to the same place.
    """
    as_text = form == "text" or (form is None and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        *([_add_pid] if with_pid else []),
        structlog.processors.format_exc_info,
        _redact,
        _cut,
    ]
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), timestamp_key="time")
    last: list[Processor] = [_show, console] if as_text else [_to_json]
    stream = UnblockedStream(sys.stderr, is_shared=with_pid, on_dropped=_tell_dropped)
    atexit.register(stream.drain, EXIT_WITHIN_S)
    file = cast("TextIO", stream)  # as much of one as loggers use
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
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    return stream


def _add_pid(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {**event, "pid": os.getpid()}


def _redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Remove what looks like a secret, by its name or its form."""
    for name, value in event.items():
        if isinstance(value, str):
            hidden = _SECRET_NAMES.search(name)
            event[name] = "[redacted]" if hidden else _SECRET_VALUES.sub("[redacted]", value)
    return event


def _cut(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Bound each value."""
    for name, value in event.items():
        if isinstance(value, str) and len(value) > _MAX_CHARS:
            limit = _LONG_FIELDS.get(name, _MAX_CHARS)
            event[name] = value if len(value) <= limit else f"{value[: limit - 1]}…"
    return event


def _show(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Write out what would command a terminal, or make a second line."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = visible(value) if name in _OF_SEVERAL_LINES else visible_line(value)
    return event


_render_json = structlog.processors.JSONRenderer(ensure_ascii=False)


def _to_json(logger: WrappedLogger, name: str, event: EventDict) -> str:
    """As JSON, with JSON's escapes for what would command a terminal; JSON has none for C1 itself."""
    return _COMMANDING.sub(
        lambda found: f"\\u{ord(found[0]):04x}", str(_render_json(logger, name, event))
    )


def _tell_dropped(count: int) -> None:
    structlog.get_logger("chatbot.logs").warning(
        "log lines were dropped: what reads stderr was too slow", count=count
    )
