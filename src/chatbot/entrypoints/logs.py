"""Logs: one line an event on stderr, as text on a terminal and as JSON elsewhere.

Configured before genkit is imported, which else would choose for us. Never holds prompts,
answers, secrets or query strings; one processor removes what looks like a secret all the same.
"""

import logging
import os
import re
import sys
from contextlib import suppress
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET_NAMES = re.compile(r"(?i)password|secret|token$|api_key|authorization|cookie")
_SECRET_VALUES = re.compile(
    r"(?i)(bearer\s+\S+|eyJ[\w-]+\.[\w-]+\.[\w-]+|\$argon2\S+|\bsk-[\w-]{8,})"
)

_CHATTY = ("aiohttp", "alembic", "asyncio", "genkit", "httpx", "httpx2", "openai", "uvicorn")
"""Libraries that tell at `info` what our own line says already, or what nobody asked."""


class _Stderr(structlog.WriteLogger):
    """Loses a line that cannot be written, as `logging` does: it must not cost an answer."""

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    debug = info = warning = error = critical = msg


class _Warnings(_Stderr):
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


def configure(level: str, form: Literal["text", "json"] | None, *, with_pid: bool = False) -> None:
    """Send structlog's and the standard library's records through one chain to stderr.

    `with_pid` names the process in each line, where several write to the same place.
    """
    as_text = form == "text" or (form is None and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        *([_add_pid] if with_pid else []),
        structlog.processors.format_exc_info,
        _redact,
    ]
    last: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), timestamp_key="time")
        if as_text
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    ours, others = _Stderr(sys.stderr), _Warnings(sys.stderr)
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *name: ours if "".join(name).startswith("chatbot.") else others,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").filters = [_OnceASecond()]
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _add_pid(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {**event, "pid": os.getpid()}


def _redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Remove what looks like a secret, by its name or its form."""
    for name, value in event.items():
        if isinstance(value, str):
            hidden = _SECRET_NAMES.search(name)
            event[name] = "[redacted]" if hidden else _SECRET_VALUES.sub("[redacted]", value)
    return event
