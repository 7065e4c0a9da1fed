"""Asks a model for summaries and for updates of structured memory.

A reply that was filtered, cut off or is empty changes nothing. A message that the provider refuses
is found by bisection, marked and left out; the messages next to it are not.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from chatbot.application.data_blocks import data_block, structured_content
from chatbot.application.learning_bisection import Known, learned_by_bisection
from chatbot.application.memory_rules import MemoryRules
from chatbot.application.prompt_history import accepted, prompts_of
from chatbot.application.prompt_texts import language_of, texts_in
from chatbot.application.replies import read_update, without_thinking
from chatbot.domain.chat import FinishReason, Message, MessageRole
from chatbot.domain.errors import InvalidInput, ModelError, PromptRefused
from chatbot.domain.memory import MAX_SUMMARY_CHARS, Update, default_preferences
from chatbot.domain.memory_learning import Lesson, learned
from chatbot.domain.memory_views import structured_of
from chatbot.domain.person_memory import Item, ItemKind, PersonMemory
from chatbot.domain.ports.model import ChatModel, ModelRequest, PromptMessage, Task
from chatbot.domain.ports.runtime import Clock, NewId

logger = logging.getLogger("chatbot.consolidation")

_FAILED_REPAIRS = 3
"""After this many in a row, this process requests no repairs: the model does not write JSON."""
_LARGE_CHARS = 20_000
"""If batch, update and memory are larger than this, they are compared in a thread."""
_BAD_REPLY_CHARS = 4000


class Learner:
    """Summarizes and extracts with a model. Both methods return the knowledge after the batch."""

    def __init__(
        self, model: ChatModel, rules: MemoryRules, *, clock: Clock, new_id: NewId
    ) -> None:
        self._model = model
        self._rules = rules
        self._clock, self._new_id = clock, new_id
        self._failed_repairs = 0

    async def summarize(self, known: Known, batch: Sequence[Message]) -> Known:
        """Update the summary, without answers whose prompt contained what is forgotten now.

        Raises:
            ModelFailure: the model failed, or the provider refuses the task itself.
        """
        memory, forgotten = known.memory, known.person.forgotten_ids
        turns = [
            message
            for message in accepted(batch, memory)
            if (message.role is MessageRole.USER or message.is_answer)
            and message.used_items.isdisjoint(forgotten)
        ]
        failures = memory.summary_setback.failures
        found = await learned_by_bisection(known, turns, self._summarized, failures=failures)
        used = frozenset(found.memory.summarized_items).union(*(m.used_items for m in turns))
        return found.with_memory(
            replace(found.memory, summarized_to=batch[-1].seq, summarized_items=tuple(sorted(used)))
        )

    async def extract(self, known: Known, batch: Sequence[Message]) -> Known:
        """Learn about the person from their messages, if they allow it.

        Raises:
            ModelFailure: the model failed, or the provider refuses the task itself.
        """
        memory, is_allowed = known.memory, known.person.settings.learns
        said = [m for m in accepted(batch, memory) if is_allowed and m.role is MessageRole.USER]
        failures = memory.extraction_setback.failures
        found = await learned_by_bisection(known, said, self._extracted, failures=failures)
        return found.with_memory(replace(found.memory, extracted_to=batch[-1].seq))

    def after(self, person: PersonMemory, lessons: Sequence[Lesson]) -> PersonMemory:
        """Return the person's memory after lessons."""
        defaults, now = default_preferences(self._rules.language), self._clock()
        for lesson in lessons:
            person = learned(person, lesson, now=now, new_id=self._new_id, defaults=defaults)
        return person

    async def _summarized(self, known: Known, messages: Sequence[Message]) -> Known:
        memory = known.memory
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
        return known.with_memory(replace(memory, summary=" ".join(words)[:MAX_SUMMARY_CHARS]))

    async def _summary(self, summary: str, messages: Sequence[Message]) -> str:
        content = {
            "summary": summary,
            "max_words": self._rules.summary_max_words,
            "messages": [{"role": m.role, "text": m.content} for m in messages],
        }
        language = language_of(prompts_of(messages), preferred=self._rules.language)
        system = texts_in(language).summarize.format(max_words=self._rules.summary_max_words)
        return await self._ask(Task.SUMMARIZE, system, self._block(content))

    async def _extracted(self, known: Known, messages: Sequence[Message]) -> Known:
        shown = structured_content(structured_of(self._shown(known.person)))
        try:
            update = await self._update(shown, messages)
        except PromptRefused:
            if len(messages) != 1 or not shown:
                raise
            update = await self._update({}, messages)  # the known memory may be the cause
        lesson = Lesson(
            session_id=known.session_id,
            messages=tuple(messages),
            update=update,
            said_before=known.said_before,
        )
        said = sum(len(message.content) for message in messages)
        is_large = said + update.size + sum(map(len, _lines(known.person))) > _LARGE_CHARS
        work = partial(self.after, known.person, [lesson])
        person = await asyncio.to_thread(work) if is_large else work()
        return replace(known, person=person, lessons=(*known.lessons, lesson))

    def _shown(self, person: PersonMemory) -> Sequence[Item]:
        """The items that the model is shown, with only the newest facts and tasks."""
        listed = {kind: [item for item in person.active if item.kind is kind] for kind in ItemKind}
        return [item for items in listed.values() for item in items[-self._rules.max_items :]]

    async def _update(self, known: Mapping[str, object], messages: Sequence[Message]) -> Update:
        """Return what the model extracts; nothing after a failed repair, so that the batch ends."""
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
            raise ModelError(
                f"The reply with the memory update is unusable: {completion.finish_reason}."
            )
        return text


def _lines(person: PersonMemory) -> Iterator[str]:
    return (item.line for item in person.active)
