"""A turn in progress: the events for its reader, and its interruption."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from chatbot.application.prompt_texts import Language
from chatbot.domain.chat import FinishReason, InterruptReason, SessionId, TurnId
from chatbot.domain.errors import ChatbotError, Revoked, ShuttingDown
from chatbot.domain.identity import Owner
from chatbot.domain.memory import RecalledItem
from chatbot.domain.ports.model import ChatModel, Completion, ModelRequest, Usage
from chatbot.domain.usage import Payer


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The user's message is stored and the model is being asked."""

    session_id: SessionId
    turn_id: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The complete, stored answer. `notice` is set in the first answer of a session."""

    session_id: SessionId
    turn_id: TurnId
    text: str
    finish_reason: FinishReason
    usage: Usage
    model: str
    memory_used: tuple[RecalledItem, ...]
    notice: str | None


ReplyEvent = Started | Delta | Reply


@dataclass(slots=True, kw_only=True)
class Turn:
    """One turn. Only the model call is ever cancelled, never a write.

    `session_id` is None until a new session has been created. `language` is the caller's preference
    for built-in texts, if any.
    """

    owner: Owner
    payer: Payer
    session_id: SessionId | None
    id: TurnId
    prompt: str
    language: Language | None
    stream: bool
    interruption: InterruptReason | None = None
    _pieces: list[str] = field(default_factory=list)
    _generating: asyncio.Task[object] | None = None
    _pending: deque[ReplyEvent] = field(default_factory=deque)
    _wakeup: asyncio.Event = field(default_factory=asyncio.Event)
    _is_over: bool = False

    @property
    def text(self) -> str:
        """The text received so far."""
        return "".join(self._pieces)

    async def events(self) -> AsyncGenerator[ReplyEvent]:
        """Yield the events until the turn is over."""
        while True:
            while self._pending:
                yield self._pending.popleft()
            if self._is_over:
                return
            self._wakeup.clear()
            await self._wakeup.wait()

    def emit(self, event: ReplyEvent) -> None:
        """Queue an event for the reader. A delta is merged with an unread one before it."""
        last = self._pending[-1] if self._pending else None
        if isinstance(event, Delta) and isinstance(last, Delta):
            self._pending[-1] = Delta(text=last.text + event.text)
        else:
            self._pending.append(event)
        self._wakeup.set()

    def end(self) -> None:
        """End the events."""
        self._is_over = True
        self._wakeup.set()

    def interrupt(self, reason: InterruptReason) -> None:
        """Cancel the model call. Only the first reason counts."""
        if self.interruption is None:
            self.interruption = reason
            if self._generating is not None:
                self._generating.cancel()

    def interruption_error(self) -> ChatbotError:
        """The error with which an interrupted turn ends."""
        if self.interruption is InterruptReason.REVOKED:
            return Revoked()
        return ShuttingDown("The service stopped while it was answering.")

    async def generate(self, model: ChatModel, request: ModelRequest) -> Completion:
        """Call the model and emit deltas as they arrive.

        Raises:
            asyncio.CancelledError: the turn was interrupted, or its task was cancelled.
        """
        if self.interruption is not None:
            raise asyncio.CancelledError
        task = self._generating = asyncio.current_task()
        try:
            return await self._call(model, request)
        except asyncio.CancelledError:
            if self.interruption is not None and task is not None:
                task.uncancel()  # only the model call was to be cancelled
            raise
        finally:
            self._generating = None

    async def _call(self, model: ChatModel, request: ModelRequest) -> Completion:
        if not self.stream:
            completion = await model.complete(request)
            self._receive(completion.text)
            return completion
        async with aclosing(model.stream(request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    return piece
                self._receive(piece)
        raise AssertionError("A model's stream ends with its completion.")

    def _receive(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            self.emit(Delta(text=piece))
