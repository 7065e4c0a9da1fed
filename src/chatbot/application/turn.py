"""A turn while it runs: the events that its reader gets, and how it is interrupted."""

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
    """The whole answer; it is stored. `notice` comes with the first answer of a session."""

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
    """One turn. Only the model's work is ever cancelled, never a write.

    `session_id` is None until a new session has been made for it. `language` is the caller's
    preference for the service's own texts, None if there is none.
    """

    owner: Owner
    session_id: SessionId | None
    id: TurnId
    prompt: str
    language: Language | None
    stream: bool
    interruption: InterruptReason | None = None
    _pieces: list[str] = field(default_factory=list)
    _asking: asyncio.Task[object] | None = None
    _unread: deque[ReplyEvent] = field(default_factory=deque)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _is_over: bool = False

    @property
    def text(self) -> str:
        """The answer's text so far."""
        return "".join(self._pieces)

    async def events(self) -> AsyncGenerator[ReplyEvent]:
        """Yield the events until the turn is over."""
        while True:
            while self._unread:
                yield self._unread.popleft()
            if self._is_over:
                return
            self._changed.clear()
            await self._changed.wait()

    def emit(self, event: ReplyEvent) -> None:
        """Hand an event to the reader. A piece joins the one before if that is not read yet."""
        last = self._unread[-1] if self._unread else None
        if isinstance(event, Delta) and isinstance(last, Delta):
            self._unread[-1] = Delta(text=last.text + event.text)
        else:
            self._unread.append(event)
        self._changed.set()

    def end(self) -> None:
        """End the events."""
        self._is_over = True
        self._changed.set()

    def interrupt(self, reason: InterruptReason) -> None:
        """Stop the model; the first reason counts."""
        if self.interruption is None:
            self.interruption = reason
            if self._asking is not None:
                self._asking.cancel()

    def require_uninterrupted(self) -> None:
        """Return unless the turn was interrupted before it began.

        Raises:
            ShuttingDown, Revoked: it was; there is nothing to store.
        """
        if self.interruption is not None:
            raise self.interruption_error()

    def interruption_error(self) -> ChatbotError:
        """The error that a turn ends with when it was interrupted."""
        if self.interruption is InterruptReason.REVOKED:
            return Revoked()
        return ShuttingDown("The service stopped while it was answering.")

    async def ask(self, model: ChatModel, request: ModelRequest) -> Completion:
        """Ask the model, passing pieces on as they come.

        Raises:
            asyncio.CancelledError: the turn was interrupted, or else its task was cancelled.
        """
        if self.interruption is not None:
            raise asyncio.CancelledError
        asking = self._asking = asyncio.current_task()
        try:
            return await self._call(model, request)
        except asyncio.CancelledError:
            if self.interruption is not None and asking is not None:
                asking.uncancel()  # only the model call was meant
            raise
        finally:
            self._asking = None

    async def _call(self, model: ChatModel, request: ModelRequest) -> Completion:
        if not self.stream:
            completion = await model.complete(request)
            self._pass_on(completion.text)
            return completion
        async with aclosing(model.stream(request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    return piece
                self._pass_on(piece)
        raise AssertionError("A model's stream ends with its completion.")

    def _pass_on(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            self.emit(Delta(text=piece))
