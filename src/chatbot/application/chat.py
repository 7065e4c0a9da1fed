"""One turn of a conversation, as a stream of reply events.

The user's message is durable before the model is called, and the answer before it is
acknowledged. While the model runs the session is held, by its lease, and no transaction is open.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from chatbot.application.consolidation import Consolidation
from chatbot.application.leases import patiently
from chatbot.application.prompt import Composer, Prompt, is_answer
from chatbot.application.turn import Reply, ReplyEvent, Started, Turn
from chatbot.domain.chat import (
    Interruption,
    Question,
    Session,
    SessionId,
    TurnContext,
    TurnId,
)
from chatbot.domain.errors import InvalidInput, ModelTimeout, PromptTooLong, ShuttingDown, cause_of
from chatbot.domain.identity import Owner, Principal
from chatbot.domain.policy import Action, require
from chatbot.domain.ports.model import ChatModel, Completion
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Storage, Transaction
from chatbot.domain.text import is_sound

logger = logging.getLogger("chatbot.chat")


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
        self._running: dict[asyncio.Task[None], Turn] = {}
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
            SessionBusy, after `Started`: the session was lost to another turn, and the answer
                is not stored.
        """
        require(principal, Action.CHAT)
        self._check(prompt)
        turn = Turn(
            owner=principal.owner,
            session_id=session_id,
            id=TurnId(self._new_id()),
            prompt=prompt,
            stream=stream,
        )
        task = asyncio.create_task(self._run(turn))
        self._running[task] = turn
        task.add_done_callback(self._running.pop)
        is_heard_out = False
        try:
            async with aclosing(turn.told()) as events:
                async for event in events:
                    yield event
            is_heard_out = True
            await task
        finally:
            if not is_heard_out:
                turn.interrupt(Interruption.CLIENT)
                task.add_done_callback(partial(_log_failure, turn))
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
            raise ShuttingDown
        if not prompt.strip():
            raise InvalidInput("The prompt is empty.", where=("prompt",))
        if not is_sound(prompt):
            raise InvalidInput("The prompt is not valid Unicode.", where=("prompt",))
        if len(prompt) > self._max_prompt_chars:
            raise PromptTooLong(f"A prompt has at most {self._max_prompt_chars} characters.")

    async def _run(self, turn: Turn) -> None:
        try:
            await self._take(turn)
        finally:
            turn.end()

    async def _take(self, turn: Turn) -> None:
        asked = await patiently(partial(self._store_question, turn))
        lease = asked.lease
        reason: Interruption | None = Interruption.UPSTREAM
        try:
            turn.tell(Started(session_id=lease.session_id, turn_id=turn.id))
            prompt = self._composer.compose(asked.memory, asked.history)
            with self._storage.keeping(lease):
                completion = await turn.hear(self._model, prompt.request)
        except asyncio.CancelledError:
            reason = turn.interruption or Interruption.SHUTDOWN
            raise ShuttingDown("The service stopped while it was answering.") from None
        except ModelTimeout:
            reason = Interruption.TIMEOUT
            raise
        else:
            reason = None
        finally:
            await self._storage.store_answer(lease, turn.heard, ts=self._clock(), reason=reason)
        turn.tell(self._reply(asked, completion, prompt))
        self._consolidation.schedule(
            turn.owner, lease.session_id, asked.memory, last_seq=asked.history[-1].seq + 1
        )

    async def _store_question(self, turn: Turn) -> TurnContext:
        turn.go_on()
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

    def _reply(self, asked: TurnContext, completion: Completion, prompt: Prompt) -> Reply:
        is_first = not asked.memory.summarized_to and not any(map(is_answer, asked.history))
        return Reply(
            session_id=asked.lease.session_id,
            turn_id=asked.lease.turn_id,
            text=completion.text,
            finish_reason=completion.finish_reason,
            usage=self._composer.usage(prompt, completion),
            model=self._model.name,
            memory_used=prompt.memory_used,
            notice=self._notice or None if is_first else None,
        )


def _log_failure(turn: Turn, task: asyncio.Task[None]) -> None:
    """Tell the log of a failure that no reader is left to hear of."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, ShuttingDown):
        logger.warning(
            "a turn failed after its caller had left: %s",
            type(error).__name__,
            extra={"session_id": turn.session_id, "cause": cause_of(error)},
        )
