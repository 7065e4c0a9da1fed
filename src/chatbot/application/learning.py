"""Asks a model for summaries and for updates of structured memory.

A reply that was filtered, cut off or is empty changes nothing. A message that the provider refuses
is found by bisection, marked and left out; the messages next to it are not.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from chatbot.application.data_blocks import data_block, structured_content
from chatbot.application.memory_rules import MemoryRules
from chatbot.application.prompt_history import accepted, prompts_of
from chatbot.application.prompt_texts import language_of, texts_in
from chatbot.application.replies import read_update, without_thinking
from chatbot.domain.chat import FinishReason, Message, MessageRole
from chatbot.domain.errors import InvalidInput, ModelError, ModelFailure, PromptRefused
from chatbot.domain.memory import (
    MAX_SUMMARY_CHARS,
    Memory,
    StructuredMemory,
    Update,
    default_preferences,
    recollections,
)
from chatbot.domain.memory_updates import merge
from chatbot.domain.ports.model import ChatModel, ModelRequest, PromptMessage, Task
from chatbot.domain.ports.runtime import NewId

logger = logging.getLogger("chatbot.consolidation")

Learn = Callable[[Memory, Sequence[Message]], Awaitable[Memory]]
"""Asks the model about messages and returns the updated memory."""

_FAILURES = 2
"""After this many failures in a row, an unusable reply counts as a refusal of the messages."""
_FAILED_REPAIRS = 3
"""After this many in a row, this process requests no repairs: the model does not write JSON."""
_LARGE_CHARS = 20_000
"""If batch, named items and memory are larger than this, they are merged in a thread."""
_BAD_REPLY_CHARS = 4000


class Learner:
    """Summarizes and extracts with a model.

    Both methods return the memory updated with the batch.
    """

    def __init__(self, model: ChatModel, rules: MemoryRules, *, new_id: NewId) -> None:
        self._model = model
        self._rules = rules
        self._new_id = new_id
        self._failed_repairs = 0

    async def summarize(self, memory: Memory, batch: Sequence[Message]) -> Memory:
        """Update the summary.

        Raises:
            ModelFailure: the model failed, or the provider refuses the task itself.
        """
        turns = [m for m in accepted(batch, memory) if m.role is MessageRole.USER or m.is_answer]
        failures = memory.summary_setback.failures
        known = await _learned(memory, turns, self._summarized, failures=failures)
        return replace(known, summarized_to=batch[-1].seq)

    async def extract(self, memory: Memory, batch: Sequence[Message]) -> Memory:
        """Merge what the user said into structured memory.

        Raises:
            ModelFailure: the model failed, or the provider refuses the task itself.
        """
        said = [m for m in accepted(batch, memory) if m.role is MessageRole.USER]
        failures = memory.extraction_setback.failures
        known = await _learned(memory, said, self._extracted, failures=failures)
        return replace(known, extracted_to=batch[-1].seq)

    async def _summarized(self, memory: Memory, messages: Sequence[Message]) -> Memory:
        try:
            text = await self._summary(memory.summary, messages)
        except PromptRefused:
            if len(messages) != 1 or not memory.summary:
                raise
            # The summary may be the cause: summarize the message alone and drop the oldest words.
            new = await self._summary("", messages)
            words = [*memory.summary.split(), *new.split()[: self._rules.summary_max_words]]
            text = " ".join(words[-self._rules.summary_max_words :])
        words = text.split()[: self._rules.summary_max_words]
        return replace(memory, summary=" ".join(words)[:MAX_SUMMARY_CHARS])

    async def _summary(self, summary: str, messages: Sequence[Message]) -> str:
        content = {
            "summary": summary,
            "max_words": self._rules.summary_max_words,
            "messages": [{"role": m.role, "text": m.content} for m in messages],
        }
        language = language_of(prompts_of(messages), preferred=self._rules.language)
        system = texts_in(language).summarize.format(max_words=self._rules.summary_max_words)
        return await self._ask(Task.SUMMARIZE, system, self._block(content))

    async def _extracted(self, memory: Memory, messages: Sequence[Message]) -> Memory:
        try:
            update = await self._update(structured_content(memory.structured), messages)
        except PromptRefused:
            if len(messages) != 1 or memory.structured == StructuredMemory():
                raise
            update = await self._update({}, messages)  # the known memory may be the cause
        return replace(memory, structured=await self._merged(memory, update, messages))

    async def _merged(
        self, memory: Memory, update: Update, messages: Sequence[Message]
    ) -> StructuredMemory:
        said = [message.content for message in messages]

        def merged() -> StructuredMemory:
            return merge(
                memory.structured,
                update,
                sources=[message.seq for message in messages],
                said=said,
                max_items=self._rules.max_items,
                defaults=default_preferences(self._rules.language),
            )

        named = [*update.forget, *update.done]
        if named:  # they are compared with everything known
            named += (each.text for each in recollections(memory))
        is_large = sum(map(len, said)) + sum(map(len, named)) > _LARGE_CHARS
        return await asyncio.to_thread(merged) if is_large else merged()

    async def _update(self, known: Mapping[str, object], messages: Sequence[Message]) -> Update:
        """Return what the model extracts; after a failed repair nothing, so that the batch ends."""
        content = {
            "memory": known,
            "messages": [{"seq": m.seq, "text": m.content} for m in messages],
        }
        language = language_of(prompts_of(messages), preferred=self._rules.language)
        system, block = texts_in(language).extract, self._block(content)
        reply = await self._ask(Task.EXTRACT_MEMORY, system, block)
        try:
            return self._read(reply)
        except InvalidInput:
            if self._failed_repairs >= _FAILED_REPAIRS:
                return Update()
        bad = PromptMessage(role=MessageRole.ASSISTANT, text=reply[:_BAD_REPLY_CHARS])
        repair = PromptMessage(role=MessageRole.USER, text=texts_in(language).repair)
        reply = await self._ask(Task.EXTRACT_MEMORY, system, block, bad, repair)
        try:
            return self._read(reply)
        except InvalidInput:
            self._failed_repairs += 1
            logger.warning("the model's memory update is not a JSON object; batch skipped")
            return Update()

    def _read(self, reply: str) -> Update:
        update = read_update(reply)
        self._failed_repairs = 0
        return update

    def _block(self, content: Mapping[str, object]) -> PromptMessage:
        block = data_block(content, nonce=self._new_id()[:16])
        return PromptMessage(role=MessageRole.USER, text=block.rstrip())

    async def _ask(self, task: Task, system: str, *messages: PromptMessage) -> str:
        """Return the text of a complete reply.

        Raises:
            ModelError: the reply was filtered, cut off at the length limit, or is empty.
        """
        request = ModelRequest(
            task=task,
            system=system,
            messages=messages,
            max_output_tokens=self._rules.max_output_tokens,
        )
        completion = await self._model.complete(request)
        text = without_thinking(completion.text)
        if completion.finish_reason is not FinishReason.STOP or not text:
            raise ModelError(f"A reply for memory is not usable: {completion.finish_reason}.")
        return text


async def _learned(
    memory: Memory, messages: Sequence[Message], learn: Learn, *, failures: int
) -> Memory:
    """Return the memory updated with the messages, with the refused ones among them marked.

    No message is marked if the provider refuses the task itself, whatever the messages.
    """
    if not messages:
        return memory
    blamed = (PromptRefused, ModelError) if failures >= _FAILURES else (PromptRefused,)
    try:
        return await learn(memory, messages)
    except blamed as error:
        if not await _is_accepted(learn, error):
            raise
    return await _learned_in_parts(memory, messages, learn, blamed)


async def _learned_in_parts(
    memory: Memory,
    messages: Sequence[Message],
    learn: Learn,
    blamed: tuple[type[ModelFailure], ...],
) -> Memory:
    """Process refused messages in two halves; a message that is refused alone is marked."""
    if len(messages) == 1:
        logger.warning("the provider rejects message %d; it is left out of memory", messages[0].seq)
        return memory.with_refused([messages[0].seq])
    half = len(messages) // 2
    for part in (messages[:half], messages[half:]):
        try:
            memory = await learn(memory, part)
        except blamed:
            memory = await _learned_in_parts(memory, part, learn, blamed)
    return memory


async def _is_accepted(learn: Learn, error: ModelFailure) -> bool:
    """Whether the provider accepts the task without any message, after it failed with `error`."""
    try:
        await learn(Memory(), ())
    except PromptRefused:
        return False
    except ModelError:
        return isinstance(error, PromptRefused)  # a bad reply to nothing proves nothing else
    return True
