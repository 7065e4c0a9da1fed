"""The port to a language model."""

from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from chatbot.domain.chat import FinishReason, MessageRole


class Task(StrEnum):
    """The purpose of a request. The embedded model cannot infer it from the text."""

    CHAT = "chat"
    SUMMARIZE = "summarize"
    EXTRACT_MEMORY = "extract_memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptMessage:
    """One message of a prompt."""

    role: MessageRole
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A request: the system text, then messages that alternate, from the user's to the user's.

    `task` also determines the format of the answer: `EXTRACT_MEMORY` asks for a JSON object, the others for text.
    """

    task: Task
    system: str
    messages: tuple[PromptMessage, ...]
    max_output_tokens: int

    @property
    def texts(self) -> list[str]:
        """Its texts, the system text first."""
        return [self.system, *(message.text for message in self.messages)]

    @property
    def size(self) -> int:
        """The size of its texts in UTF-8 bytes."""
        return sum(len(text.encode()) for text in self.texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call; `estimated` if the provider did not count them.

    A model reports 0 for a missing or implausible count.
    """

    input_tokens: int
    output_tokens: int
    estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A complete answer. `usage` is None if the provider reported none."""

    text: str
    finish_reason: FinishReason
    usage: Usage | None


class ChatModel(Protocol):
    """A language model, or a substitute for one.

    Both methods raise a `ModelFailure` and nothing else of their own. Cancelling the call, or
    closing the generator, closes the upstream request at once.
    Requests are independent and may be repeated.
    """

    name: str
    """The Genkit name, as in `openai/gpt-x` or `local/extractive`."""

    @property
    def adapted(self) -> str:
        """How requests were adapted to the provider, as far as known."""
        return ""

    @abstractmethod
    async def complete(self, request: ModelRequest) -> Completion:
        """Return the whole answer, without streaming."""

    @abstractmethod
    def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        """Yield the answer's text piece by piece, and finally the `Completion`.

        Pieces are valid Unicode and together make up `Completion.text`. Pieces that arrive together
        may be joined. An empty piece means that the model is still thinking. If the answer is cut
        off, the generator raises after the pieces that arrived; otherwise it yields a completion.
        """

    @abstractmethod
    async def warm_up(self) -> None:
        """Prepare for the first call, without calling the provider."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close connections. Idempotent."""
