"""The port to telemetry: the traces and metrics that use cases report about their work.

No method fails or blocks, and none takes text that a person wrote.
"""

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self, TypeVar

from chatbot.domain.chat import SessionId
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.storage import Storage

Layer = TypeVar("Layer")

TraceIds = tuple[int, int, bool, str]
"""The ids of a trace and of a span in it, whether they are exported, and the state of the trace."""

current_trace: ContextVar[TraceIds | None] = ContextVar("current_trace", default=None)
"""The trace and the span of the work in progress; the log adds them to its lines."""


STATUS, ERROR_CODE, TRUSTED_PEER = "status", "error_code", "peer_is_trusted"
"""Keys of the state of a request: the status and the code of the error that it was answered with, and
whether a trusted proxy has sent it."""


class Activity(StrEnum):
    """A part of the work whose duration is reported."""

    LEASE_WAIT = "lease_wait"
    """Waiting for a session that another turn holds."""
    PROMPT = "prompt"
    CONSOLIDATION = "consolidation"
    INGESTION = "ingestion"
    """Extracting and indexing one document."""
    EMBEDDING = "embedding"
    """A call of the embedding model, with its retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """The position of a process among the workers of the service, which answer for each other.

    `folder` is private to the service.
    """

    folder: Path
    number: int
    count: int

    def socket(self, number: int) -> Path:
        """The path of a worker's socket."""
        return self.folder / f"{number}.socket"


class Telemetry(Protocol):
    """Traces and metrics of one process. Opened and closed with `async with`."""

    @abstractmethod
    def during(self, activity: Activity) -> AbstractContextManager[object]:
        """Report the block as one activity, with everything reported inside it as its parts."""

    @abstractmethod
    def in_session(self, session_id: SessionId) -> AbstractContextManager[object]:
        """Name the session in the traces of the model calls inside of the block."""

    @abstractmethod
    def storage(self, storage: Storage) -> Storage:
        """Return a store that delegates to this one and reports its transactions."""

    @abstractmethod
    def model(self, model: ChatModel, base_url: str | None, temperature: float | None) -> ChatModel:
        """Return a model that delegates to this one, at this URL, and reports its calls."""

    @abstractmethod
    def count_retry(self) -> None:
        """Report that a model call is retried."""

    @abstractmethod
    def count_embedding_tokens(self, tokens: int) -> None:
        """Report how many tokens the texts of a call of the embedding model had."""

    @abstractmethod
    def count_audit_event(self, action: str, outcome: str) -> None:
        """Report an event of the audit. Callable from any thread."""

    @abstractmethod
    def observe(self, *, active_turns: Callable[[], int], backlog: Callable[[], int]) -> None:
        """Report these numbers whenever the metrics are read: running turns, and sessions whose
        messages wait for their consolidation or are being consolidated.
        """

    @abstractmethod
    def around(self, app: Layer) -> Layer:
        """Return an ASGI application that reports each request of this one."""

    @abstractmethod
    def exposition(self) -> bytes | None:
        """Return the metrics of all worker processes in Prometheus' text format.

        None if they are not kept for Prometheus. Blocks.
        """

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *exc_info: object) -> None: ...


class NoTelemetry(Telemetry):
    """Reports nothing."""

    def __init__(self) -> None:
        self._nothing = nullcontext()

    def during(self, activity: Activity) -> AbstractContextManager[object]:  # noqa: ARG002
        return self._nothing

    def in_session(self, session_id: SessionId) -> AbstractContextManager[object]:  # noqa: ARG002
        return self._nothing

    def storage(self, storage: Storage) -> Storage:
        return storage

    def model(self, model: ChatModel, base_url: str | None, temperature: float | None) -> ChatModel:  # noqa: ARG002
        return model

    def count_retry(self) -> None:
        pass

    def count_embedding_tokens(self, tokens: int) -> None:
        pass

    def count_audit_event(self, action: str, outcome: str) -> None:
        pass

    def observe(self, *, active_turns: Callable[[], int], backlog: Callable[[], int]) -> None:
        pass

    def around(self, app: Layer) -> Layer:
        return app

    def exposition(self) -> bytes | None:
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass


NO_TELEMETRY = NoTelemetry()
