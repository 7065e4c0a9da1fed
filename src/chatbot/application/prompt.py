"""Builds prompts from history, memory and what is recalled, within a token budget.

A prompt has three parts: the system text, which is fixed (the company's instructions, then ours);
the messages that the summary does not cover, and those of an incomplete step that it does; and the
newest user message with one data block in front. So a prompt begins like the previous one, and
providers can cache that prefix.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chatbot.application.data_blocks import data_block
from chatbot.application.prompt_data import DataShares, PromptData
from chatbot.application.prompt_history import HistoryWindow, Scope, prompts_of
from chatbot.application.prompt_texts import LANGUAGES, Language, language_of, texts_in
from chatbot.application.tokens import TokenEstimator
from chatbot.application.turn import Turn
from chatbot.domain.answer_details import PromptPart
from chatbot.domain.chat import Message, MessageRole, Question, SessionId
from chatbot.domain.memory import Memory, RecalledItem
from chatbot.domain.ports.model import Completion, ModelRequest, PromptMessage, Task, Usage
from chatbot.domain.ports.runtime import NewId
from chatbot.domain.recall import Recalled, RecalledPassage, items_of

_FEW_MESSAGES = 6
"""A conversation with no more messages is short: most of its prompts is new anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A request, the data in its block, its parts, and the language of its built-in texts."""

    request: ModelRequest
    data: PromptData
    parts: tuple[PromptPart, ...]
    language: Language

    @property
    def memory_used(self) -> tuple[RecalledItem, ...]:
        """The items and messages in it."""
        return self.data.memory_used

    @property
    def passages(self) -> tuple[RecalledPassage, ...] | None:
        """The passages in it, which are cited by their position from 1; None: none were searched."""
        return self.data.passages


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
        step = max(threshold - window, 2) if threshold else 1
        self._window = HistoryWindow(step, self.estimator.tokens)
        self._shares = DataShares(self.estimator.tokens)
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
        recalled: Recalled | None = None,
        scope: Scope = Scope.WHOLE,
        most_bytes: int | None = None,
        preferred: Language | None = None,
    ) -> Prompt:
        """Build the prompt for the newest message of `history`, which is the user's.

        `history` is that of a `TurnContext`, whose question has this builder's
        `summarized_step` and `history_limit`. Without `recalled`, the items are those of the memory.
        `most_bytes` limits the prompt in addition to the token budget, except for the question
        itself. `preferred` is the caller's language.
        """
        language = language_of(prompts_of(history), preferred=self._language or preferred)
        system = self._systems[language]
        budget = self._budget
        if most_bytes is not None:
            budget = min(budget, self.estimator.tokens_of_bytes(most_bytes))
        found = Recalled(items=items_of(memory)) if recalled is None else recalled
        texts = [system, *(message.content for message in history)]
        prefix = self.estimator.tokens(*texts) if len(history) > _FEW_MESSAGES else None
        data = self._shares.within(budget, memory.summary, found, scope, prefix=prefix)
        content = data.content
        block = data_block(content, nonce=self._new_id()[:16]) if content else ""
        shown = self._window.within(
            budget - self.estimator.tokens(system, block),
            memory,
            history,
            scope,
            may_begin=len(history) < self.history_limit,
        )
        *before, newest = shown.messages
        request = ModelRequest(
            task=Task.CHAT,
            system=system,
            messages=(*before, PromptMessage(role=MessageRole.USER, text=block + newest.text)),
            max_output_tokens=self.max_output_tokens,
        )
        parts = (
            PromptPart(kind="system", tokens=self.estimator.tokens(system)),
            *shown.parts,
            *self._shares.parts(data, memory.summary, found, scope),
        )
        return Prompt(request=request, data=data, parts=parts, language=language)

    def usage(self, prompt: Prompt, completion: Completion) -> Usage:
        """Return the usage of a call: see `TokenEstimator.usage`; learn from what was reported."""
        if completion.usage is not None:
            self.estimator.learn(prompt.request, completion.usage.input_tokens)
        return self.estimator.usage(prompt.request, completion)
