"""One turn of a conversation, as a stream of reply events.

The user's message is durable before the model is called, and the answer before it is
acknowledged. While the model runs the session is held, by its lease, and no transaction is open.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from functools import partial

from chatbot.application.answer_generation import Answer, AnswerGenerator
from chatbot.application.budgets import Budgets, Meter
from chatbot.application.consolidation import Consolidation
from chatbot.application.first_failures import FirstFailures
from chatbot.application.leases import retry_while_busy
from chatbot.application.metering import metered_by, paying
from chatbot.application.prompt import PromptBuilder
from chatbot.application.prompt_texts import Language, notice_in
from chatbot.application.running_turns import RunningTurns
from chatbot.application.session_room import SessionRoom
from chatbot.application.shares import Shares
from chatbot.application.turn import Reply, ReplyEvent, Started, Turn
from chatbot.application.turn_estimates import TurnEstimator
from chatbot.domain.authorization import require
from chatbot.domain.chat import (
    InterruptReason,
    Message,
    MessageRole,
    Session,
    SessionId,
    TurnContext,
    TurnId,
)
from chatbot.domain.documents import clean_labels
from chatbot.domain.errors import (
    ChatbotError,
    InvalidInput,
    ModelTimeout,
    PromptRefused,
    PromptTooLong,
    cause_of,
)
from chatbot.domain.identity import Owner, Principal
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Telemetry
from chatbot.domain.recall import ALL_DOCUMENTS, DocumentChoice, Recalled
from chatbot.domain.text import is_storable
from chatbot.domain.transaction import Transaction
from chatbot.domain.usage import payer_of

logger = logging.getLogger("chatbot.chat")

Recall = Callable[[Turn, TurnContext], Awaitable[Recalled]]
"""Finds what the prompt of a turn may contain besides its session. Never raises."""


class Chat:
    """Answers prompts.

    Args:
        notice: the sentence that goes with a session's first answer; empty = none, None = ours.
        max_prompt_chars: the maximum length of a prompt, in code points.
        shares: limits the turns that one owner may have under way in this process.
        answered: called after each answered turn.
    """

    def __init__(
        self,
        storage: Storage,
        model: ChatModel,
        prompt_builder: PromptBuilder,
        consolidation: Consolidation,
        room: SessionRoom,
        *,
        budgets: Budgets,
        clock: Clock,
        new_id: NewId,
        max_prompt_chars: int,
        shares: Shares,
        notice: str | None,
        recall: Recall,
        answered: Callable[[Owner, SessionId], None] = lambda *_: None,
        telemetry: Telemetry = NO_TELEMETRY,
    ) -> None:
        self._storage = storage
        self._model = model
        self._prompt_builder = prompt_builder
        self._consolidation = consolidation
        self._room = room
        self._budgets = budgets
        self._estimator = TurnEstimator(storage, prompt_builder)
        self._clock = clock
        self._new_id = new_id
        self._max_prompt_chars = max_prompt_chars
        self.running = RunningTurns(storage, clock, shares=shares)
        self._notice = notice
        self._recall = recall
        self._answered = answered
        self._telemetry = telemetry
        self._generator = AnswerGenerator(model, prompt_builder, telemetry)
        self._first_failures = FirstFailures(storage)

    def reply(
        self,
        principal: Principal,
        session_id: SessionId | None,
        prompt: str,
        *,
        stream: bool,
        language: Language | None = None,
        documents: DocumentChoice = ALL_DOCUMENTS,
    ) -> AsyncGenerator[ReplyEvent]:
        """Answer a prompt: `Started`, `Remembered`, then `Delta`s and `Cited`s, then one `Reply`.

        Without `stream` the model answers in one piece. Without a session id the session is new.
        `language` is the caller's preference for the service's own texts.
        Closing the generator early means that the client disconnected: the model call is cancelled,
        and the partial answer is stored as interrupted.

        Raises:
            Forbidden, InvalidInput, PromptTooLong: at once.
            RateLimited, BudgetExhausted, TooManySessions, NotFound, SessionBusy: nothing was stored.
            ModelFailure, StorageFailure, ShuttingDown, Revoked: the user's message is kept if it
                was stored, and the partial answer with it; then the error names session and turn.
            SessionBusy, after `Started`: the lease was lost to another turn, and the answer is not
                stored.
        """
        require(principal, Permission.CHAT)
        self._check(prompt)
        turn = Turn(
            principal=principal,
            payer=payer_of(principal),
            session_id=session_id,
            id=TurnId(self._new_id()),
            prompt=prompt,
            documents=replace(documents, labels=clean_labels(documents.labels)),
            language=language,
            stream=stream,
        )
        return self.running.run(turn, principal, self._run_turn)

    def _check(self, prompt: str) -> None:
        if not prompt.strip():
            raise InvalidInput("The prompt is empty.", where=("prompt",))
        if not is_storable(prompt):
            raise InvalidInput("The prompt is not valid Unicode.", where=("prompt",))
        if len(prompt) > self._max_prompt_chars:
            raise PromptTooLong(f"A prompt can have at most {self._max_prompt_chars} characters.")

    async def _run_turn(self, turn: Turn) -> None:
        is_first = turn.session_id is None
        meter = await self._budgets.begin(turn.payer, self._estimator.of(turn, self._clock()))
        try:
            asked = await retry_while_busy(partial(self._store_question, turn), self._telemetry)
        except BaseException:
            await self._budgets.release(meter)
            raise
        if is_first:
            await self._first_failures.replace(turn.owner, turn.prompt, turn.id)
        try:
            with self._telemetry.in_session(asked.lease.session_id), paying(turn.payer):
                await self._answer(turn, asked, meter)
        except ChatbotError as error:
            error.session_id, error.turn_id = asked.lease.session_id, turn.id
            if is_first and not turn.text:
                self._first_failures.remember(turn.owner, asked.lease.session_id, turn.prompt)
            raise

    async def _answer(self, turn: Turn, asked: TurnContext, meter: Meter) -> None:
        lease = asked.lease
        answer: Answer | None = None
        reason: InterruptReason | None = InterruptReason.UPSTREAM
        try:
            turn.emit(Started(session_id=lease.session_id, turn_id=turn.id))
            with self._storage.renewing(lease), metered_by(meter):
                recalled = await self._recall(turn, asked)
                turn.decisions = recalled.decisions
                answer = await self._generator.generate(turn, asked, recalled)
        except asyncio.CancelledError:
            reason = turn.interruption or InterruptReason.SHUTDOWN
            raise turn.interruption_error() from None
        except ModelTimeout:
            reason = InterruptReason.TIMEOUT
            raise
        except PromptRefused:
            reason = InterruptReason.REFUSED
            raise
        else:
            reason = None
        finally:
            said = Message(
                role=MessageRole.ASSISTANT,
                content=turn.text,
                ts=self._clock(),
                turn_id=turn.id,
                reason=reason,
                details=turn.details,
            )
            self._estimator.learn(lease.session_id, meter.last_tokens)
            bill = await self._budgets.bill(meter, turns=1)
            await self._storage.store_answer(lease, said, bill)
        if answer.refused or answer.prompts_after:
            asked = await self._marked(asked, answer)
        turn.emit(self._reply(turn, asked, answer))
        self._consolidation.schedule(asked.answered(said), asked_at=asked.history[-1].ts)
        self._answered(turn.owner, lease.session_id)

    async def _marked(self, asked: TurnContext, answer: Answer) -> TurnContext:
        """Store which messages the provider refuses; if this fails, the next turn detects them again."""
        try:
            memory = await self._storage.transact(partial(answer.mark, asked.lease))
        except ChatbotError as error:
            logger.warning("rejected messages could not be marked: %s", cause_of(error))
            return asked
        return replace(asked, memory=memory)

    async def _store_question(self, turn: Turn) -> TurnContext:
        if turn.interruption is not None:
            raise turn.interruption_error()
        if turn.session_id is not None:
            return await self._storage.store_question(
                self._prompt_builder.question(turn.session_id, turn, self._clock())
            )

        def begin(tx: Transaction) -> TurnContext:
            now = self._clock()
            turn.session_id = SessionId(self._new_id())
            new = Session(id=turn.session_id, owner=turn.owner, created_at=now, updated_at=now)
            self._room.create(tx, new)
            return tx.sessions.store_question(
                self._prompt_builder.question(turn.session_id, turn, self._clock())
            )

        return await self._storage.transact(begin)

    def _reply(self, turn: Turn, asked: TurnContext, answer: Answer) -> Reply:
        is_first = not asked.memory.summarized_to and not any(
            message.is_answer for message in asked.history
        )
        return Reply(
            session_id=asked.lease.session_id,
            turn_id=asked.lease.turn_id,
            text=turn.text,
            finish_reason=answer.completion.finish_reason,
            usage=self._prompt_builder.usage(answer.prompt, answer.completion),
            model=self._model.name,
            memory_used=answer.prompt.memory_used,
            citations=turn.citations,
            notice=notice_in(answer.prompt.language, self._notice) if is_first else None,
        )
