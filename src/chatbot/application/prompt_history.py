"""Selects the messages of a session for a prompt, with the reasons for leaving out others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from chatbot.application.marks import without_marks
from chatbot.domain.answer_details import PromptPart
from chatbot.domain.chat import InterruptReason, Message, MessageRole
from chatbot.domain.memory import Memory
from chatbot.domain.ports.model import PromptMessage


class Scope(StrEnum):
    """How much context a prompt has besides the newest question."""

    WHOLE = "whole"
    """Passages, what is recalled, memory, history, and unanswered questions."""
    NO_PASSAGES = "without passages and recalled messages"
    NO_MEMORY = "without memory"
    ANSWERED = "without memory and unanswered questions"
    NEWEST = "the newest question alone"


class LeftOut(StrEnum):
    """Why a part was left out of a prompt."""

    SUMMARIZED = "summarized"
    BUDGET = "budget"
    REFUSED = "refused"
    """The provider refuses it."""
    INTERRUPTED = "interrupted"
    """An answer that was not completed."""
    RETRY = "retry"
    """The provider refused a prompt, which was sent again with less context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The messages of a prompt, and the messages of the session as parts of it."""

    messages: tuple[PromptMessage, ...]
    parts: tuple[PromptPart, ...]


class HistoryWindow:
    """Selects the newest messages that fit. The oldest are dropped in steps, to keep prefixes stable.

    Args:
        step: how many messages are dropped at once.
        tokens: estimates the tokens of texts.
    """

    def __init__(self, step: int, tokens: Callable[..., int]) -> None:
        self._step, self._tokens = step, tokens

    def within(
        self,
        room: float,
        memory: Memory,
        history: Sequence[Message],
        scope: Scope,
        *,
        may_begin: bool,
    ) -> History:
        """Return the messages that fit into this many tokens; always includes the newest one."""
        shown = _shown(memory, history, scope)
        first, messages = self._fitting(room, shown, may_begin=may_begin)
        kept = {each.seq for each in shown if each.seq >= first}
        parts = self._parts(memory, history, kept, {each.seq for each in shown}, scope)
        return History(messages=messages, parts=parts)

    def _fitting(
        self, room: float, history: Sequence[Message], *, may_begin: bool
    ) -> tuple[int, tuple[PromptMessage, ...]]:
        starts = [
            i for i, message in enumerate(history) if message.seq % self._step == 1 % self._step
        ]
        if may_begin or self._step == 1:
            starts = [0, *starts]
        for start in starts:
            messages = alternating(history[start:])
            if self._tokens(*(each.text for each in messages)) <= room:
                return history[start].seq, messages
        return history[-1].seq, alternating(history[-1:])

    def _parts(
        self,
        memory: Memory,
        history: Sequence[Message],
        kept: set[int],
        shown: set[int],
        scope: Scope,
    ) -> tuple[PromptPart, ...]:
        *before, question = history

        def reason(message: Message) -> LeftOut | None:
            if message.seq in kept:
                return None if _is_sent(message) else LeftOut.INTERRUPTED
            if message.seq in shown:
                return LeftOut.BUDGET
            is_refused = message.seq not in {m.seq for m in accepted(history, memory)}
            is_refused = is_refused or message.seq <= memory.prompts_after
            return LeftOut.REFUSED if is_refused or scope is Scope.WHOLE else LeftOut.RETRY

        found: list[PromptPart] = []
        first = history[0].seq
        if memory.summarized_to and first > 1:
            found.append(_range(1, first - 1, 0, LeftOut.SUMMARIZED))
        for why, group in groupby(before, key=reason):
            messages = list(group)
            tokens = self._tokens(*(each.content for each in messages))
            found.append(_range(messages[0].seq, messages[-1].seq, tokens, why))
        asked = self._tokens(question.content)
        found.append(PromptPart(kind="question", id=str(question.seq), tokens=asked))
        return tuple(found)


def _range(first: int, last: int, tokens: int, why: LeftOut | None) -> PromptPart:
    return PromptPart(kind="message", id=f"{first}-{last}", tokens=tokens, reason=why)


def _is_sent(message: Message) -> bool:
    return message.role is MessageRole.USER or message.is_answer


def alternating(history: Sequence[Message]) -> tuple[PromptMessage, ...]:
    """Return alternating messages that begin and end with the user's.

    Interrupted and empty answers are left out; consecutive user messages are joined, except for
    repetitions. Answers come without their citation marks, which mean other passages now.
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
            is_answer = message.role is MessageRole.ASSISTANT
            text = without_marks(message.content) if is_answer else message.content
            messages.append(PromptMessage(role=message.role, text=text))
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
