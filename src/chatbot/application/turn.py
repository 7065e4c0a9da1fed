"""A turn while it runs: what its reader is told, and how it is interrupted."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from chatbot.application.texts import Language
from chatbot.domain.chat import FinishReason, Interruption, SessionId, TurnId
from chatbot.domain.errors import ChatbotError, Revoked, ShuttingDown
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Recollection
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
    memory_used: tuple[Recollection, ...]
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
    interruption: Interruption | None = None
    _pieces: list[str] = field(default_factory=list)
    _hearer: asyncio.Task[object] | None = None
    _untold: deque[ReplyEvent] = field(default_factory=deque)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _is_over: bool = False

    @property
    def heard(self) -> str:
        """What the model has said so far."""
        return "".join(self._pieces)

    async def told(self) -> AsyncGenerator[ReplyEvent]:
        """What the reader is told, until the turn is over."""
        while True:
            while self._untold:
                yield self._untold.popleft()
            if self._is_over:
                return
            self._news.clear()
            await self._news.wait()

    def tell(self, event: ReplyEvent) -> None:
        """Tell the reader. A piece joins the one before if that has not been read yet."""
        last = self._untold[-1] if self._untold else None
        if isinstance(event, Delta) and isinstance(last, Delta):
            self._untold[-1] = Delta(text=last.text + event.text)
        else:
            self._untold.append(event)
        self._news.set()

    def end(self) -> None:
        """There is nothing more to tell."""
        self._is_over = True
        self._news.set()

    def interrupt(self, reason: Interruption) -> None:
        """Stop the model; the first reason counts."""
        if self.interruption is None:
            self.interruption = reason
            if self._hearer is not None:
                self._hearer.cancel()

    def go_on(self) -> None:
        """Return unless the turn was interrupted before it began.

        Raises:
            ShuttingDown, Revoked: it was; there is nothing to store.
        """
        if self.interruption is not None:
            raise self.cut_short()

    def cut_short(self) -> ChatbotError:
        """The error that a turn ends with when it was interrupted."""
        if self.interruption is Interruption.REVOKED:
            return Revoked()
        return ShuttingDown("The service stopped while it was answering.")

    async def hear(self, model: ChatModel, request: ModelRequest) -> Completion:
        """Ask the model, passing pieces on as they come.

        Raises:
            asyncio.CancelledError: the turn was interrupted, or else its task was cancelled.
        """
        if self.interruption is not None:
            raise asyncio.CancelledError
        hearer = self._hearer = asyncio.current_task()
        try:
            return await self._listen(model, request)
        except asyncio.CancelledError:
            if self.interruption is not None and hearer is not None:
                hearer.uncancel()  # only the listening was meant
            raise
        finally:
            self._hearer = None

    async def _listen(self, model: ChatModel, request: ModelRequest) -> Completion:
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
            self.tell(Delta(text=piece))
