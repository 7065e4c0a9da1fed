"""One turn of a conversation, as a stream of reply events.

The user's message is durable before the model is called, and the answer before it is
acknowledged. No transaction is open while the model runs; the session's lease is.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from chatbot.application.consolidation import Consolidation
from chatbot.application.leases import held
from chatbot.application.prompt import Composer, Prompt, is_answer
from chatbot.domain.chat import (
    Author,
    FinishReason,
    Interruption,
    Lease,
    Message,
    Session,
    SessionId,
    TurnId,
)
from chatbot.domain.errors import (
    InvalidInput,
    ModelTimeout,
    PromptTooLong,
    ShuttingDown,
)
from chatbot.domain.identity import Owner, Principal
from chatbot.domain.memory import Memory, Recollection
from chatbot.domain.policy import Action, require
from chatbot.domain.ports.model import ChatModel, Completion, Usage
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Storage, Transaction

logger = logging.getLogger("chatbot.chat")


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


class Chat:
    """Answers prompts.

    Args:
        notice: the sentence that goes with a session's first answer; empty = none.
        max_prompt_chars: longest prompt, in code points.
    """

    def __init__(
        self,
        storage: Storage,
        model: ChatModel,
        composer: Composer,
        consolidation: Consolidation,
        *,
        clock: Clock,
        new_id: NewId,
        max_prompt_chars: int,
        notice: str,
    ) -> None:
        self._storage = storage
        self._model = model
        self._composer = composer
        self._consolidation = consolidation
        self._clock = clock
        self._new_id = new_id
        self._max_prompt_chars = max_prompt_chars
        self._notice = notice
        self._running: dict[asyncio.Task[None], _Turn] = {}
        self._closing = False

    async def reply(
        self, principal: Principal, session_id: SessionId | None, prompt: str, *, stream: bool
    ) -> AsyncGenerator[ReplyEvent]:
        """Answer a prompt: `Started`, then `Delta`s, then one `Reply`.

        Without `stream` the model answers in one piece. Without a session id the session is new.
        Closing the generator early means that the caller has left: the model is stopped, and what
        it had said is stored as interrupted.

        Raises:
            Forbidden, InvalidInput, PromptTooLong, NotFound, SessionBusy: nothing was stored.
            ModelFailure, StorageFailure, ShuttingDown: the user's message is kept if it was
                stored, and the partial answer with it.
        """
        require(principal, Action.CHAT)
        self._check(prompt)
        turn = _Turn(
            owner=principal.owner,
            session_id=session_id,
            id=TurnId(self._new_id()),
            prompt=prompt,
            stream=stream,
        )
        task = asyncio.create_task(self._run(turn))
        self._running[task] = turn
        task.add_done_callback(self._ended)
        try:
            while (event := await turn.events.get()) is not None:
                yield event
            await task
        finally:
            if not task.done():
                turn.interrupt(Interruption.CLIENT)
                await asyncio.wait({task})

    @property
    def is_closing(self) -> bool:
        """Whether no new turns are taken."""
        return self._closing

    async def aclose(self) -> None:
        """Take no new turns, interrupt those that run, and wait until they are stored."""
        self._closing = True
        running = dict(self._running)
        for turn in running.values():
            turn.interrupt(Interruption.SHUTDOWN)
        if running:
            await asyncio.wait(running)

    def _check(self, prompt: str) -> None:
        if self._closing:
            raise ShuttingDown("The service is stopping.")
        if not prompt.strip():
            raise InvalidInput("The prompt is empty.", where=("prompt",))
        if len(prompt) > self._max_prompt_chars:
            raise PromptTooLong(f"A prompt has at most {self._max_prompt_chars} characters.")

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Forget the turn; a failure that no reader is left to hear of goes to the log."""
        turn = self._running.pop(task)
        error = None if task.cancelled() else task.exception()
        unheard = error is not None and turn.interruption is Interruption.CLIENT
        if unheard and not isinstance(error, ShuttingDown):
            logger.warning(
                "a turn failed after its caller had left: %s",
                type(error).__name__,
                extra={"session_id": turn.session_id, "cause": repr(error)},
            )

    async def _run(self, turn: "_Turn") -> None:
        try:
            await self._take(turn)
        finally:
            turn.events.put_nowait(None)

    async def _take(self, turn: "_Turn") -> None:
        session_id = turn.session_id or await self._new_session(turn.owner)
        async with held(self._storage, turn.owner, session_id, turn.id) as lease:
            if turn.interruption is not None:
                raise ShuttingDown("The turn was given up before it began.")
            memory, history = await self._ask(lease, turn.prompt)
            turn.events.put_nowait(Started(session_id=session_id, turn_id=turn.id))
            prompt = self._composer.compose(memory, history)
            completion = await self._answer_of(turn, lease, prompt)
        first = not memory.summarized_to and not any(map(is_answer, history))
        turn.events.put_nowait(self._reply(lease, completion, prompt, first=first))
        self._consolidation.schedule(turn.owner, session_id, memory, last_seq=history[-1].seq + 1)

    async def _new_session(self, owner: Owner) -> SessionId:
        session_id, now = SessionId(self._new_id()), self._clock()
        async with self._storage.transaction() as tx:
            await tx.sessions.create(
                Session(id=session_id, owner=owner, title="", created_at=now, updated_at=now)
            )
        return session_id

    async def _ask(self, lease: Lease, prompt: str) -> tuple[Memory, list[Message]]:
        """Store the user's message; return the memory and the messages that a prompt may hold."""
        owner, session_id = lease.owner, lease.session_id
        async with self._storage.transaction() as tx:
            memory = await tx.sessions.memory(owner, session_id)
            history = await tx.sessions.messages(
                owner,
                session_id,
                limit=self._composer.history_limit,
                after=self._composer.history_start(memory),
            )
            crashed = await self._close_crashed_turn(tx, lease, history)
            asked = await tx.sessions.append(lease, Author.USER, prompt, ts=self._clock())
        limit = self._composer.history_limit
        return memory, [*history, *crashed, asked][-limit:]

    async def _close_crashed_turn(
        self, tx: Transaction, lease: Lease, history: Sequence[Message]
    ) -> list[Message]:
        """Write down that the last turn's process died: its question has no answer, we hold it."""
        if not history or history[-1].role is Author.ASSISTANT:
            return []
        return [
            await tx.sessions.append(
                lease, Author.ASSISTANT, "", ts=self._clock(), reason=Interruption.CRASH
            )
        ]

    async def _answer_of(self, turn: "_Turn", lease: Lease, prompt: Prompt) -> Completion:
        """Have the model answer and store what it said, however that ends."""
        reason: Interruption | None = Interruption.UPSTREAM
        try:
            completion = await turn.hear(self._model, prompt)
            reason = None
        except asyncio.CancelledError:
            reason = turn.interruption or Interruption.SHUTDOWN
            raise ShuttingDown("The service stopped while it was answering.") from None
        except ModelTimeout:
            reason = Interruption.TIMEOUT
            raise
        finally:
            async with self._storage.transaction() as tx:
                await tx.sessions.append(
                    lease, Author.ASSISTANT, turn.heard, ts=self._clock(), reason=reason
                )
        return completion

    def _reply(self, lease: Lease, completion: Completion, prompt: Prompt, *, first: bool) -> Reply:
        return Reply(
            session_id=lease.session_id,
            turn_id=lease.turn_id,
            text=completion.text,
            finish_reason=completion.finish_reason,
            usage=self._composer.usage(prompt, completion),
            model=self._model.name,
            memory_used=prompt.memory_used,
            notice=self._notice or None if first else None,
        )


@dataclass(slots=True, kw_only=True)
class _Turn:
    """A turn while it runs. Only the model's work is ever cancelled, never a write."""

    owner: Owner
    session_id: SessionId | None
    id: TurnId
    prompt: str
    stream: bool
    events: asyncio.Queue[ReplyEvent | None] = field(default_factory=asyncio.Queue)
    interruption: Interruption | None = None
    _pieces: list[str] = field(default_factory=list)
    _hearing: asyncio.Task[Completion] | None = None

    @property
    def heard(self) -> str:
        """What the model has said so far."""
        return "".join(self._pieces)

    def interrupt(self, reason: Interruption) -> None:
        """Stop the model; the first reason counts."""
        if self.interruption is None:
            self.interruption = reason
            if self._hearing is not None:
                self._hearing.cancel()

    async def hear(self, model: ChatModel, prompt: Prompt) -> Completion:
        """Ask the model, passing pieces on as they come.

        Raises:
            asyncio.CancelledError: the turn was interrupted.
        """
        self._hearing = asyncio.create_task(self._listen(model, prompt))
        if self.interruption is not None:
            self._hearing.cancel()
        return await self._hearing

    async def _listen(self, model: ChatModel, prompt: Prompt) -> Completion:
        if not self.stream:
            completion = await model.complete(prompt.request)
            self._pass_on(completion.text)
            return completion
        async with aclosing(model.stream(prompt.request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    return piece
                self._pass_on(piece)
        raise AssertionError("A model's stream ends with its completion.")

    def _pass_on(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            self.events.put_nowait(Delta(text=piece))
