"""A turn in progress: the events for its reader, and its interruption."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from chatbot.application.citations import Citing
from chatbot.application.prompt_texts import Language
from chatbot.domain.answer_details import AnswerDetails, Citation, PromptPart
from chatbot.domain.chat import FinishReason, InterruptReason, SessionId, TurnId
from chatbot.domain.errors import ChatbotError, Revoked, ShuttingDown
from chatbot.domain.identity import Owner, Principal
from chatbot.domain.memory import RecalledItem
from chatbot.domain.ports.model import ChatModel, Completion, ModelRequest, Usage
from chatbot.domain.recall import Decision, DocumentChoice
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
class Remembered:
    """What the prompt of the answer contains from memory, if anything."""

    memory_used: tuple[RecalledItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """The text so far ends with the first mark of this citation."""

    citation: Citation


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
    citations: tuple[Citation, ...]
    notice: str | None


ReplyEvent = Started | Remembered | Delta | Cited | Reply


@dataclass(slots=True, kw_only=True)
class Answering:
    """The answer to one prompt of a turn, as it arrives."""

    citing: Citing
    memory_used: tuple[RecalledItem, ...] = ()
    parts: tuple[PromptPart, ...] = ()


@dataclass(slots=True, kw_only=True)
class Turn:
    """One turn. Only the model call is ever cancelled, never a write.

    `session_id` is None until a new session has been created. `language` is the caller's preference
    for built-in texts, if any.
    """

    principal: Principal
    payer: Payer
    session_id: SessionId | None
    id: TurnId
    prompt: str
    documents: DocumentChoice
    language: Language | None
    stream: bool
    decisions: tuple[Decision, ...] = ()
    interruption: InterruptReason | None = None
    _answering: Answering | None = None
    _pieces: list[str] = field(default_factory=list)
    _generating: asyncio.Task[object] | None = None
    _pending: deque[ReplyEvent] = field(default_factory=deque)
    _wakeup: asyncio.Event = field(default_factory=asyncio.Event)
    _is_over: bool = False

    @property
    def owner(self) -> Owner:
        """The owner of its session."""
        return self.principal.owner

    @property
    def text(self) -> str:
        """The text received so far, without marks that name no passage."""
        return "".join(self._pieces)

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The citations received so far."""
        return tuple(self._answering.citing.citations) if self._answering else ()

    @property
    def details(self) -> AnswerDetails | None:
        """What is stored with the answer; None if no prompt was built."""
        if self._answering is None:
            return None
        return AnswerDetails(
            citations=tuple(each.reference for each in self.citations),
            parts=self._answering.parts,
            decisions=self.decisions,
        )

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

    async def generate(
        self, model: ChatModel, request: ModelRequest, answering: Answering
    ) -> Completion:
        """Call the model and emit deltas and citations as they arrive.

        Before the first of them, emit what the prompt remembers, if anything.

        Raises:
            asyncio.CancelledError: the turn was interrupted, or its task was cancelled.
        """
        if self.interruption is not None:
            raise asyncio.CancelledError
        self._answering = answering
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
            self._end_text()
            return completion
        async with aclosing(model.stream(request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    self._end_text()
                    return piece
                self._receive(piece)
        raise AssertionError("A model's stream ends with its completion.")

    def _receive(self, piece: str) -> None:
        if piece and self._answering is not None:
            for each in self._answering.citing.feed(piece):
                self._show(each)

    def _end_text(self) -> None:
        if self._answering is not None:
            for each in self._answering.citing.end():
                self._show(each)

    def _show(self, found: str | Citation) -> None:
        if not self._pieces and self._answering and self._answering.memory_used:
            self.emit(Remembered(memory_used=self._answering.memory_used))
        if isinstance(found, str):
            self._pieces.append(found)
            self.emit(Delta(text=found))
        else:
            self.emit(Cited(citation=found))
