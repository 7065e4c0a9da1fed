"""Builds prompts from history and memory within a token budget.

A prompt has three parts: the system text, which is fixed (the company's instructions, then ours);
the messages that the summary does not cover, and those of an incomplete step that it does; and the
newest user message with one data block in front. So a prompt begins like the previous one, and
providers can cache that prefix.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chatbot.application.data_blocks import data_block, json_line, memory_content, shortened
from chatbot.application.prompt_texts import LANGUAGES, Language, language_of, texts_in
from chatbot.application.tokens import TokenEstimator
from chatbot.application.turn import Turn
from chatbot.domain.chat import InterruptReason, Message, MessageRole, Question, SessionId
from chatbot.domain.memory import Memory, RecalledItem, recollections
from chatbot.domain.ports.model import Completion, ModelRequest, PromptMessage, Task, Usage
from chatbot.domain.ports.runtime import NewId

_MEMORY_SHARE = 0.25  # of the prompt's budget; the conversation itself needs the rest


class Scope(StrEnum):
    """How much context a prompt has besides the newest question."""

    WHOLE = "whole"
    """Memory, history, and unanswered questions."""
    NO_MEMORY = "without memory"
    ANSWERED = "without memory and unanswered questions"
    NEWEST = "the newest question alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A request, the memory items in it, and the language of its built-in texts."""

    request: ModelRequest
    memory_used: tuple[RecalledItem, ...]
    language: Language


class PromptBuilder:
    """Builds chat prompts.

    Args:
        assistant_name: the assistant's name; None = a default in each language.
        company_instructions: the company's own system text, placed verbatim before ours.
        language: of the built-in texts; None = the caller's preference, else the user's language.
        window: the number of newest messages in a prompt when summaries are off.
        threshold: number of unsummarized messages that triggers a summary; 0 = off. Summarized
            messages leave the prompt in steps of this size.
        context_tokens: the model's context size; `max_output_tokens` of it are reserved.
    """

    def __init__(
        self,
        *,
        assistant_name: str | None,
        company_instructions: str,
        language: Language | None,
        window: int,
        threshold: int,
        context_tokens: int,
        max_output_tokens: int,
        new_id: NewId,
    ) -> None:
        self.estimator = TokenEstimator()
        self.history_limit = 2 * threshold or max(window, 1)
        self._language = language
        self._systems: dict[Language, str] = {}
        for each in LANGUAGES:
            texts = texts_in(each)
            ours = texts.system.format(name=assistant_name or texts.name)
            whole = f"{company_instructions}\n\n{ours}" if company_instructions else ours
            self._systems[each] = whole
        self.summarized_step = threshold or 1
        self._step = max(threshold - window, 2) if threshold else 1
        self.max_output_tokens = max_output_tokens
        self._budget = context_tokens - max_output_tokens
        self._new_id = new_id

    @property
    def most_tokens(self) -> int:
        """What a prompt and its answer can have at most."""
        return self._budget + self.max_output_tokens

    def question(self, session_id: SessionId, turn: Turn, ts: datetime) -> Question:
        """Return the question of a turn, with as much history as a prompt may have."""
        return Question(
            owner=turn.owner,
            session_id=session_id,
            turn_id=turn.id,
            text=turn.prompt,
            ts=ts,
            summarized_step=self.summarized_step,
            history_limit=self.history_limit,
        )

    def build(
        self,
        memory: Memory,
        history: Sequence[Message],
        *,
        scope: Scope = Scope.WHOLE,
        most_bytes: int | None = None,
        preferred: Language | None = None,
    ) -> Prompt:
        """Build the prompt for the newest message of `history`, which is the user's.

        `history` is that of a `TurnContext`, whose question has this builder's
        `summarized_step` and `history_limit`. `most_bytes` limits the prompt in addition to the token
        budget, except for the question itself. `preferred` is the caller's language.
        """
        language = language_of(prompts_of(history), preferred=self._language or preferred)
        system = self._systems[language]
        budget = self._budget
        if most_bytes is not None:
            budget = min(budget, self.estimator.tokens_of_bytes(most_bytes))
        kept = self._remembered(memory, budget) if scope is Scope.WHOLE else Memory()
        block = (
            data_block(memory_content(kept), nonce=self._new_id()[:16])
            if recollections(kept)
            else ""
        )
        shown = _shown(memory, history, scope)
        may_begin = len(history) < self.history_limit
        room = budget - self.estimator.tokens(system, block)
        messages = self._history_within(room, shown, may_begin=may_begin)
        newest = PromptMessage(role=MessageRole.USER, text=block + messages[-1].text)
        request = ModelRequest(
            task=Task.CHAT,
            system=system,
            messages=(*messages[:-1], newest),
            max_output_tokens=self.max_output_tokens,
        )
        return Prompt(request=request, memory_used=tuple(recollections(kept)), language=language)

    def usage(self, prompt: Prompt, completion: Completion) -> Usage:
        """Return the usage of a call: see `TokenEstimator.usage`; learn from what was reported."""
        if completion.usage is not None:
            self.estimator.learn(prompt.request, completion.usage.input_tokens)
        return self.estimator.usage(prompt.request, completion)

    def _history_within(
        self, room: float, history: Sequence[Message], *, may_begin: bool
    ) -> tuple[PromptMessage, ...]:
        """Return the newest messages that fit; the oldest leave in steps, to keep prefixes stable."""
        starts = [
            i for i, message in enumerate(history) if message.seq % self._step == 1 % self._step
        ]
        if may_begin or self._step == 1:
            starts = [0, *starts]
        for start in starts:
            messages = alternating(history[start:])
            if self.estimator.tokens(*(each.text for each in messages)) <= room:
                return messages
        return alternating(history[-1:])

    def _remembered(self, memory: Memory, budget: float) -> Memory:
        """Return as much of the memory as fits into a prompt."""
        limit = budget * _MEMORY_SHARE
        while self.estimator.tokens(json_line(memory_content(memory))) > limit:
            memory = shortened(memory)
        return memory


def alternating(history: Sequence[Message]) -> tuple[PromptMessage, ...]:
    """Return alternating messages that begin and end with the user's.

    Interrupted and empty answers are left out; consecutive user messages are joined, except for
    repetitions.
    """
    messages: list[PromptMessage] = []
    last = ""
    for message in history:
        if message.role is MessageRole.ASSISTANT and not (messages and message.is_answer):
            continue
        if messages and messages[-1].role is message.role:
            if message.content != last:
                joined = f"{messages[-1].text}\n\n{message.content}"
                messages[-1] = PromptMessage(role=message.role, text=joined)
        else:
            messages.append(PromptMessage(role=message.role, text=message.content))
        last = message.content
    return tuple(messages)


def accepted(messages: Sequence[Message], memory: Memory) -> list[Message]:
    """Return the messages without those that the provider refuses."""
    turns = {m.turn_id for m in messages if m.reason is InterruptReason.REFUSED}
    if not turns and not memory.refused:
        return list(messages)
    return [m for m in messages if m.turn_id not in turns and m.seq not in memory.refused]


def unanswered_before(memory: Memory, history: Sequence[Message]) -> list[Message]:
    """Return the unanswered questions that a prompt joins to the newest one."""
    *before, _ = history
    shown = [m for m in accepted(before, memory) if m.seq > memory.prompts_after]
    answered_to = max((m.seq for m in shown if m.is_answer), default=0)
    return [m for m in shown if m.role is MessageRole.USER and m.seq > answered_to]


def prompts_of(messages: Sequence[Message]) -> Iterator[str]:
    """Yield the user's messages, newest first."""
    return (each.content for each in reversed(messages) if each.role is MessageRole.USER)


def _shown(memory: Memory, history: Sequence[Message], scope: Scope) -> list[Message]:
    if scope is Scope.NEWEST:
        return [history[-1]]
    shown = [m for m in accepted(history, memory) if m.seq > memory.prompts_after]
    if scope is not Scope.ANSWERED:
        return shown
    unanswered = {m.seq for m in unanswered_before(memory, history)}
    return [m for m in shown if m.seq not in unanswered]
