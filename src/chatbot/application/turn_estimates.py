"""Estimates how many tokens a turn will use, before any of it is stored."""

from collections import OrderedDict
from datetime import datetime

from chatbot.application.prompt import PromptBuilder
from chatbot.application.turn import Turn
from chatbot.domain.chat import Message, MessageRole, SessionId
from chatbot.domain.memory import Memory
from chatbot.domain.ports.storage import Storage

_SESSIONS_KEPT = 1000


class TurnEstimator:
    """Estimates from the previous turn of the same session, if this process has seen it.

    A turn of a session whose size is unknown initially counts as the largest possible one.
    """

    def __init__(self, storage: Storage, prompt_builder: PromptBuilder) -> None:
        self._storage, self._prompt_builder = storage, prompt_builder
        self._tokens: OrderedDict[SessionId, int] = OrderedDict()

    def learn(self, session_id: SessionId, tokens: int) -> None:
        """Note how many tokens the last request of a turn has used, with its answer."""
        if not tokens:
            return
        self._tokens[session_id] = tokens
        self._tokens.move_to_end(session_id)
        if len(self._tokens) > _SESSIONS_KEPT:
            self._tokens.popitem(last=False)

    def of(self, turn: Turn, now: datetime) -> "TurnEstimate":
        """Return the estimate of a turn."""
        known = None if turn.session_id is None else self._tokens.get(turn.session_id)
        return TurnEstimate(self._storage, self._prompt_builder, turn, now, known)


class TurnEstimate:
    """The estimate of one turn. `known` are the tokens of the turn before."""

    def __init__(
        self,
        storage: Storage,
        prompt_builder: PromptBuilder,
        turn: Turn,
        now: datetime,
        known: int | None,
    ) -> None:
        self._storage, self._prompt_builder = storage, prompt_builder
        self._turn, self._now, self._known = turn, now, known

    def quick(self) -> int:
        most = self._prompt_builder.most_tokens
        if self._turn.session_id is None:
            return self._of(Memory(), ())
        if self._known is None:
            return most
        asked = self._prompt_builder.estimator.tokens(self._turn.prompt)
        return min(most, self._known + asked + self._prompt_builder.max_output_tokens)

    async def exact(self) -> int | None:
        if self._turn.session_id is None or self._known is not None:
            return None
        question = self._prompt_builder.question(self._turn.session_id, self._turn, self._now)
        found = await self._storage.transact(
            lambda tx: tx.sessions.load(
                question.owner, question.session_id, lambda _, memory: question.history(memory)
            )
        )
        return self._of(found.memory, found.messages)

    def _of(self, memory: Memory, history: tuple[Message, ...]) -> int:
        asked = Message(
            seq=history[-1].seq + 1 if history else 1,
            role=MessageRole.USER,
            content=self._turn.prompt,
            ts=self._now,
            turn_id=self._turn.id,
        )
        prompt = self._prompt_builder.build(
            memory, (*history, asked), preferred=self._turn.language
        )
        tokens = self._prompt_builder.estimator.tokens(*prompt.request.texts)
        return tokens + self._prompt_builder.max_output_tokens
