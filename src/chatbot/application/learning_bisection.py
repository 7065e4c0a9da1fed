"""Learning from a batch of messages of which the provider refuses some.

A refused message is found by bisection, marked and left out; the messages next to it are not.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from chatbot.domain.chat import Message, SessionId
from chatbot.domain.errors import ModelError, ModelFailure, PromptRefused
from chatbot.domain.memory import Memory
from chatbot.domain.memory_learning import Lesson
from chatbot.domain.person_memory import PersonMemory

logger = logging.getLogger("chatbot.consolidation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known about the session and the person while a batch is processed.

    `lessons` are those that led from the person's stored memory to this one. `said_before` is the
    user's last message before the batch.
    """

    session_id: SessionId
    memory: Memory
    person: PersonMemory
    lessons: tuple[Lesson, ...] = ()
    said_before: str = ""

    def with_memory(self, memory: Memory) -> "Known":
        return replace(self, memory=memory)


Learn = Callable[[Known, Sequence[Message]], Awaitable[Known]]
"""Asks the model about messages, and returns what is known afterwards."""

_FAILURES = 2
"""After this many failures in a row, an unusable reply counts as a refusal of the messages."""


async def learned_by_bisection(
    known: Known, messages: Sequence[Message], learn: Learn, *, failures: int
) -> Known:
    """Return what is known after the messages, with the refused ones marked.

    No message is marked if the provider refuses the task itself, whatever the messages.
    """
    if not messages:
        return known
    blamed = (PromptRefused, ModelError) if failures >= _FAILURES else (PromptRefused,)
    try:
        return await learn(known, messages)
    except blamed as error:
        if not await _is_accepted(known, learn, error):
            raise
    return await _in_parts(known, messages, learn, blamed)


async def _in_parts(
    known: Known,
    messages: Sequence[Message],
    learn: Learn,
    blamed: tuple[type[ModelFailure], ...],
) -> Known:
    """Process refused messages in two halves; a message that is refused alone is marked."""
    if len(messages) == 1:
        logger.warning("the provider rejects message %d; it is left out of memory", messages[0].seq)
        return known.with_memory(known.memory.with_refused([messages[0].seq]))
    half = len(messages) // 2
    for part in (messages[:half], messages[half:]):
        try:
            known = await learn(known, part)
        except blamed:
            known = await _in_parts(known, part, learn, blamed)
    return known


async def _is_accepted(known: Known, learn: Learn, error: ModelFailure) -> bool:
    """Whether the provider accepts the task without any message, after it failed with `error`."""
    try:
        await learn(replace(known, memory=Memory(), person=replace(known.person, items=())), ())
    except PromptRefused:
        return False
    except ModelError:
        return isinstance(error, PromptRefused)  # a bad reply to nothing proves nothing else
    return True
