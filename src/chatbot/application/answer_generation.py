"""Generates an answer with the model, and retries a refused prompt with less context.

A provider refuses a whole prompt without naming the part it objects to. So the question is sent
again without the possible causes, and what the accepted prompt lacks is marked: a refused message
costs its own turn, never the session.
"""

import logging
from collections import OrderedDict
from dataclasses import dataclass, replace

from chatbot.application.citations import Citing
from chatbot.application.prompt import Prompt, PromptBuilder
from chatbot.application.prompt_history import Scope, unanswered_before
from chatbot.application.turn import Answering, Turn
from chatbot.domain.chat import FinishReason, Lease, SessionId, TurnContext
from chatbot.domain.errors import ContextTooLong, ModelError, ModelFailure, PromptRefused
from chatbot.domain.memory import Memory
from chatbot.domain.ports.model import ChatModel, Completion, ModelRequest
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Activity, Telemetry
from chatbot.domain.recall import Recalled
from chatbot.domain.transaction import Transaction

logger = logging.getLogger("chatbot.chat")

_SCOPES = (
    *(Scope.WHOLE, Scope.WHOLE, Scope.NO_PASSAGES, Scope.NO_MEMORY),
    *(Scope.ANSWERED, Scope.NEWEST),
)
_NOTHING_TO_MARK = frozenset({Scope.WHOLE, Scope.NO_PASSAGES, Scope.NO_MEMORY})
_LESSONS = 1000
_CUT = 0.5  # of the bytes of a prompt that was too long
_ABOUT_THE_REQUEST = frozenset({400, 413, 422})
"""Statuses of errors that a part of the prompt may have caused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer, its prompt, and what the provider refuses of the session.

    `refused` lists messages by number; later prompts begin after message `prompts_after`.
    """

    completion: Completion
    prompt: Prompt
    refused: tuple[int, ...] = ()
    prompts_after: int = 0

    def mark(self, lease: Lease, tx: Transaction) -> Memory:
        """Store the refusals with the session's memory, unless it is being changed; return it."""
        found = tx.sessions.load(lease.owner, lease.session_id)
        memory = found.memory.with_refused(self.refused)
        memory = replace(memory, prompts_after=max(memory.prompts_after, self.prompts_after))
        epoch = found.session.epoch
        is_stored = tx.sessions.put_memory(lease.owner, lease.session_id, memory, epoch=epoch)
        return replace(memory, version=memory.version + 1) if is_stored else found.memory


class AnswerGenerator:
    """Generates answers with a model.

    Sessions whose prompt was too long are remembered in this process, so that their next prompt
    fits at the first attempt.
    """

    def __init__(
        self,
        model: ChatModel,
        prompt_builder: PromptBuilder,
        telemetry: Telemetry = NO_TELEMETRY,
    ) -> None:
        self._model = model
        self._telemetry = telemetry
        self._prompt_builder = prompt_builder
        self._most_bytes: OrderedDict[SessionId, int] = OrderedDict()

    async def generate(self, turn: Turn, asked: TurnContext, recalled: Recalled) -> Answer:
        """Generate the answer to the turn's question, with at most one request per scope.

        A prompt that is too long is shortened and sent once more. A scope that leaves out nothing
        more than the previous one is skipped.

        Raises:
            PromptRefused: the provider refuses the question alone.
            ModelFailure: the model failed, possibly after part of the answer has arrived.
        """
        failure: ModelFailure | None = None
        refused: Prompt | None = None
        most_bytes = self._most_bytes.get(asked.lease.session_id)
        for scope in _SCOPES:
            with self._telemetry.during(Activity.PROMPT):
                prompt = self._prompt_builder.build(
                    asked.memory,
                    asked.history,
                    recalled=recalled,
                    scope=scope,
                    most_bytes=most_bytes,
                    preferred=turn.language,
                )
            if refused is not None and _is_same(prompt.request, refused.request):
                continue
            given = None if recalled.passages is None else prompt.passages or ()
            try:
                completion = await self._complete(turn, prompt, Citing(given))
            except (PromptRefused, ModelError) as error:
                if turn.text or not _is_about_the_prompt(error):
                    raise
                failure, refused = error, prompt
                if isinstance(error, ContextTooLong):
                    most_bytes = int(prompt.request.size * _CUT)
            else:
                if failure is not None and most_bytes is not None:
                    self._remember(asked.lease.session_id, most_bytes)
                answer = Answer(completion=completion, prompt=prompt)
                return answer if failure is None else _marked(answer, scope, failure, asked)
        raise failure or PromptRefused

    async def _complete(self, turn: Turn, prompt: Prompt, citing: Citing) -> Completion:
        answering = Answering(citing=citing, memory_used=prompt.memory_used, parts=prompt.parts)
        completion = await turn.generate(self._model, prompt.request, answering)
        if completion.finish_reason is FinishReason.BLOCKED and not completion.text:
            raise PromptRefused
        return completion

    def _remember(self, session_id: SessionId, most_bytes: int) -> None:
        self._most_bytes[session_id] = most_bytes
        self._most_bytes.move_to_end(session_id)
        if len(self._most_bytes) > _LESSONS:
            self._most_bytes.popitem(last=False)


def _marked(answer: Answer, scope: Scope, failure: ModelFailure, asked: TurnContext) -> Answer:
    """Mark what the accepted prompt lacks, unless the previous one was only too long."""
    logger.warning("the provider accepted a prompt on the second attempt: %s", scope.value)
    if isinstance(failure, ContextTooLong) or scope in _NOTHING_TO_MARK:
        return answer
    if scope is Scope.NEWEST:
        return replace(answer, prompts_after=asked.history[-1].seq - 1)
    refused = unanswered_before(asked.memory, asked.history)
    return replace(answer, refused=tuple(message.seq for message in refused))


def _is_about_the_prompt(error: ModelFailure) -> bool:
    return isinstance(error, PromptRefused) or error.status in _ABOUT_THE_REQUEST


def _is_same(one: ModelRequest, other: ModelRequest) -> bool:
    """Whether the requests are equivalent: data blocks differ only in their delimiters."""
    return [len(m.text) for m in one.messages] == [len(m.text) for m in other.messages]
