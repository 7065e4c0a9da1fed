"""One turn of a conversation, as a stream of reply events.

The user's message is durable before the model is called, and the answer before it is
acknowledged. While the model runs the session is held, by its lease, and no transaction is open.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from chatbot.application.asking import Answer, Asking
from chatbot.application.consolidation import Consolidation
from chatbot.application.first_failures import FirstFailures
from chatbot.application.leases import patiently
from chatbot.application.prompt import Composer
from chatbot.application.shares import Shares
from chatbot.application.sign_ins import SignIns
from chatbot.application.texts import Language, notice_in
from chatbot.application.turn import Reply, ReplyEvent, Started, Turn
from chatbot.domain.chat import (
    Interruption,
    Lease,
    Question,
    Session,
    SessionId,
    TurnContext,
    TurnId,
)
from chatbot.domain.errors import (
    ChatbotError,
    InvalidInput,
    ModelTimeout,
    PromptRefused,
    PromptTooLong,
    ShuttingDown,
    cause_of,
)
from chatbot.domain.identity import Owner, Principal, User
from chatbot.domain.policy import Action, require
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Storage, Transaction
from chatbot.domain.text import is_sound

logger = logging.getLogger("chatbot.chat")


class Chat:
    """Answers prompts.

    Args:
        notice: the sentence that goes with a session's first answer; empty = none, None = ours.
        max_prompt_chars: longest prompt, in code points.
        max_turns_per_owner: turns that one owner may have under way in this process, so that
            nobody takes all of the model's slots.
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
        max_turns_per_owner: int,
        notice: str | None,
    ) -> None:
        self._storage = storage
        self._model = model
        self._composer = composer
        self._consolidation = consolidation
        self._clock = clock
        self._new_id = new_id
        self._max_prompt_chars = max_prompt_chars
        self._shares = Shares(most=max_turns_per_owner)
        self._notice = notice
        self._asking = Asking(model, composer)
        self._first_failures = FirstFailures(storage)
        self._sign_ins = SignIns(storage)
        self._running: dict[asyncio.Task[None], Turn] = {}
        self._ended_at = float("-inf")
        self._closing = False

    async def reply(
        self,
        principal: Principal,
        session_id: SessionId | None,
        prompt: str,
        *,
        stream: bool,
        language: Language | None = None,
    ) -> AsyncGenerator[ReplyEvent]:
        """Answer a prompt: `Started`, then `Delta`s, then one `Reply`.

        Without `stream` the model answers in one piece. Without a session id the session is new.
        `language` is the caller's preference for the service's own texts.
        Closing the generator early means that the caller has left: the model is stopped, and what
        it had said is stored as interrupted.

        Raises:
            Forbidden, InvalidInput, PromptTooLong, RateLimited, NotFound, SessionBusy: nothing
                was stored.
            ModelFailure, StorageFailure, ShuttingDown, Revoked: the user's message is kept if it
                was stored, and the partial answer with it; then the error names session and turn.
            SessionBusy, after `Started`: the session was lost to another turn, and the answer
                is not stored.
        """
        require(principal, Action.CHAT)
        self._check(prompt)
        await self._shares.acquire(principal.owner)
        if self._closing:  # since the turn waited for its share
            self._shares.release(principal.owner)
            raise ShuttingDown
        turn = Turn(
            owner=principal.owner,
            session_id=session_id,
            id=TurnId(self._new_id()),
            prompt=prompt,
            language=language,
            stream=stream,
        )
        task = asyncio.create_task(self._run(turn, principal.user))
        self._running[task] = turn
        task.add_done_callback(self._ended)
        is_read_to_its_end = False
        try:
            async with aclosing(turn.events()) as events:
                async for event in events:
                    yield event
            is_read_to_its_end = True
            await task
        finally:
            if not is_read_to_its_end:
                turn.interrupt(Interruption.CLIENT)
                task.add_done_callback(partial(_log_failure, turn))
                await asyncio.wait({task})

    @property
    def is_answering(self) -> bool:
        """Whether turns run, or one has ended within the last second; from any thread."""
        return bool(self._running) or time.monotonic() - self._ended_at < 1

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
        self._sign_ins.close()

    def _check(self, prompt: str) -> None:
        if self._closing:
            raise ShuttingDown
        if not prompt.strip():
            raise InvalidInput("The prompt is empty.", where=("prompt",))
        if not is_sound(prompt):
            raise InvalidInput("The prompt is not valid Unicode.", where=("prompt",))
        if len(prompt) > self._max_prompt_chars:
            raise PromptTooLong(f"A prompt has at most {self._max_prompt_chars} characters.")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ended_at = time.monotonic()
        self._shares.release(self._running.pop(task).owner)

    async def _run(self, turn: Turn, user: User | None) -> None:
        try:
            with self._sign_ins.watching(turn, user):
                await self._take(turn)
        finally:
            turn.end()

    async def _take(self, turn: Turn) -> None:
        is_first = turn.session_id is None
        asked = await patiently(partial(self._store_question, turn))
        if is_first:
            await self._first_failures.replace(turn.owner, turn.prompt, turn.id)
        try:
            await self._answer_to(turn, asked)
        except ChatbotError as error:
            error.session_id, error.turn_id = asked.lease.session_id, turn.id
            if is_first and not turn.text:
                self._first_failures.remember(turn.owner, asked.lease.session_id, turn.prompt)
            raise

    async def _answer_to(self, turn: Turn, asked: TurnContext) -> None:
        lease = asked.lease
        answer: Answer | None = None
        reason: Interruption | None = Interruption.UPSTREAM
        try:
            turn.emit(Started(session_id=lease.session_id, turn_id=turn.id))
            with self._storage.keeping(lease):
                answer = await self._asking.ask(turn, asked)
        except asyncio.CancelledError:
            reason = turn.interruption or Interruption.SHUTDOWN
            raise turn.interruption_error() from None
        except ModelTimeout:
            reason = Interruption.TIMEOUT
            raise
        except PromptRefused:
            reason = Interruption.REFUSED
            raise
        else:
            reason = None
        finally:
            await self._storage.store_answer(lease, turn.text, ts=self._clock(), reason=reason)
        if answer.refused or answer.prompts_after:
            await self._mark(lease, answer)
        turn.emit(self._reply(asked, answer))
        self._consolidation.schedule(
            turn.owner, lease.session_id, asked.memory, last_seq=asked.history[-1].seq + 1
        )

    async def _mark(self, lease: Lease, answer: Answer) -> None:
        """Store what the provider refuses; what is not stored is found again by the next turn."""
        try:
            await self._storage.transact(partial(answer.mark, lease))
        except ChatbotError as error:
            logger.warning("refused messages are not marked: %s", cause_of(error))

    async def _store_question(self, turn: Turn) -> TurnContext:
        turn.require_uninterrupted()
        if turn.session_id is not None:
            return await self._storage.store_question(self._question(turn, turn.session_id))

        def begin(tx: Transaction) -> TurnContext:
            turn.session_id = self._new_session(tx, turn.owner)
            return tx.sessions.store_question(self._question(turn, turn.session_id))

        return await self._storage.transact(begin)

    def _question(self, turn: Turn, session_id: SessionId) -> Question:
        return Question(
            owner=turn.owner,
            session_id=session_id,
            turn_id=turn.id,
            text=turn.prompt,
            ts=self._clock(),
            summarized_step=self._composer.summarized_step,
            history_limit=self._composer.history_limit,
        )

    def _new_session(self, tx: Transaction, owner: Owner) -> SessionId:
        session_id, now = SessionId(self._new_id()), self._clock()
        tx.sessions.create(
            Session(id=session_id, owner=owner, title="", created_at=now, updated_at=now)
        )
        return session_id

    def _reply(self, asked: TurnContext, answer: Answer) -> Reply:
        is_first = not asked.memory.summarized_to and not any(
            message.is_answer for message in asked.history
        )
        return Reply(
            session_id=asked.lease.session_id,
            turn_id=asked.lease.turn_id,
            text=answer.completion.text,
            finish_reason=answer.completion.finish_reason,
            usage=self._composer.usage(answer.prompt, answer.completion),
            model=self._model.name,
            memory_used=answer.prompt.memory_used,
            notice=notice_in(answer.prompt.language, self._notice) if is_first else None,
        )


def _log_failure(turn: Turn, task: asyncio.Task[None]) -> None:
    """Log a failure that no reader is left to get."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, ShuttingDown):
        logger.warning(
            "a turn failed after its caller had left: %s",
            type(error).__name__,
            extra={"session_id": turn.session_id, "cause": cause_of(error)},
        )
