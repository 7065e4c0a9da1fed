"""The port to a language model."""

from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from chatbot.domain.chat import FinishReason, MessageRole


class Task(StrEnum):
    """What a request is for, which a model that is not a language model cannot read from the text."""

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

    `task` is also the answer's form: `EXTRACT_MEMORY` asks for a JSON object, the others for text.
    """

    task: Task
    system: str
    messages: tuple[PromptMessage, ...]
    max_output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call; `estimated` where the provider did not count them.

    A model reports 0 for what the provider did not count, or not credibly.
    """

    input_tokens: int
    output_tokens: int
    estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer. `usage` is None where the provider reported none."""

    text: str
    finish_reason: FinishReason
    usage: Usage | None


class ChatModel(Protocol):
    """A language model, or something that answers like one.

    Both methods raise a `ModelFailure` and nothing else of their own. Cancelling the call, or
    closing the generator, closes the upstream request at once.
    The same request may be sent again; nothing is remembered between calls.
    """

    name: str
    """The Genkit name, as in `openai/gpt-x` or `local/extractive`."""

    @abstractmethod
    async def complete(self, request: ModelRequest) -> Completion:
        """Answer in one piece; the provider is not asked to stream."""

    @abstractmethod
    def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        """Yield the answer's text piece by piece, and last the whole `Completion`.

        Pieces are valid Unicode, and joined they are `Completion.text`. Those that the provider
        sent together may come as one. An empty piece is a sign of life: the model is thinking. An
        answer that is cut off raises after the pieces that arrived; a generator that ends has
        yielded its completion.
        """

    @abstractmethod
    async def warm_up(self) -> None:
        """Do once what the first call would otherwise pay for, without calling the provider."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close connections; twice is once."""
