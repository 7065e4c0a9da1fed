"""Turning what was said into memory: after the turn, off the request path.

Both steps read the messages after their watermark, ask the model, and commit only if the memory
is still what they read; else the work is dropped. A lost run is made up after the next turn.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chatbot.application.prompt import data_block, is_answer, memory_wire, prompts_of
from chatbot.application.texts import EXTRACT, REPAIR, SUMMARIZE, Language, language_of
from chatbot.domain.chat import Author, Message, SessionId
from chatbot.domain.errors import ChatbotError, InvalidInput, ModelError, cause_of
from chatbot.domain.identity import Owner
from chatbot.domain.memory import (
    MAX_SUMMARY_CHARS,
    Memory,
    Update,
    default_preferences,
    merge,
    update_from_json,
)
from chatbot.domain.ports.model import ChatModel, ModelRequest, PromptMessage, Task
from chatbot.domain.ports.runtime import NewId
from chatbot.domain.ports.storage import Storage

logger = logging.getLogger("chatbot.consolidation")

_BATCH_MESSAGES = 40
_BATCH_BYTES = 12_000  # a batch and its summary stay well inside a context of 8,192 tokens
_AT_ONCE = 4  # consolidations of different sessions; people's turns come first


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When and how memory is made; the settings `MEM_*`.

    `language` is that of our texts to the model; None = as the person writes.
    """

    window: int
    threshold: int
    extract_every: int
    summary_max_words: int
    max_items: int
    structured: bool
    language: Language | None
    max_output_tokens: int

    def summary_is_due(self, memory: Memory, last_seq: int) -> bool:
        """Whether more messages than the threshold are outside the summary."""
        return 0 < self.threshold < last_seq - memory.summarized_to

    def extraction_is_due(self, memory: Memory, last_seq: int) -> bool:
        """Whether enough turns, of two messages each, have passed since the last extraction."""
        return self.structured and last_seq - memory.extracted_to >= 2 * self.extract_every


class Consolidation:
    """Summarises and extracts, one run at a time per session."""

    def __init__(self, storage: Storage, model: ChatModel, rules: Rules, *, new_id: NewId) -> None:
        self._storage = storage
        self._model = model
        self._rules = rules
        self._new_id = new_id
        self._runs: dict[SessionId, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)

    def schedule(
        self, owner: Owner, session_id: SessionId, memory: Memory, *, last_seq: int
    ) -> None:
        """Begin what is due in the background; a session whose run is under way waits for it."""
        due = self._rules.summary_is_due(memory, last_seq) or self._rules.extraction_is_due(
            memory, last_seq
        )
        if due and session_id not in self._runs:
            run = asyncio.create_task(self._run(owner, session_id))
            self._runs[session_id] = run
            run.add_done_callback(lambda _: self._runs.pop(session_id, None))

    async def settled(self, session_id: SessionId) -> None:
        """Wait for the session's run, if there is one."""
        if (run := self._runs.get(session_id)) is not None:
            await asyncio.wait({run})

    async def aclose(self) -> None:
        """Drop what is running; the next turn makes it up."""
        runs = list(self._runs.values())
        for run in runs:
            run.cancel()
        if runs:
            await asyncio.wait(runs)

    async def _run(self, owner: Owner, session_id: SessionId) -> None:
        async with self._places:
            for step in (self.extract, self.summarize):
                try:
                    await step(owner, session_id)
                except ChatbotError as error:
                    logger.warning(
                        "consolidation dropped: %s",
                        type(error).__name__,
                        extra={"session_id": session_id, "cause": cause_of(error)},
                    )

    async def summarize(
        self, owner: Owner, session_id: SessionId, *, at_once: bool = False
    ) -> Memory:
        """Bring the summary up to date in batches, leaving the window alone.

        It begins when the threshold is passed, or `at_once`.

        Raises:
            NotFound, ModelFailure, StorageFailure: batches done so far are kept.
        """
        memory, epoch, last_seq = await self._read(owner, session_id)
        if not (at_once or self._rules.summary_is_due(memory, last_seq)):
            return memory
        until = last_seq - self._rules.window
        while batch := await self._batch(owner, session_id, memory.summarized_to, until):
            text = await self._summary_of(memory.summary, batch)
            done = replace(memory, summary=text, summarized_to=batch[-1].seq)
            stored = await self._store(owner, session_id, done, epoch)
            memory, epoch, _ = await self._read(owner, session_id)
            if not stored:
                break
        return memory

    async def extract(
        self, owner: Owner, session_id: SessionId, *, at_once: bool = False
    ) -> Memory:
        """Bring structured memory up to date from what the user said, in batches.

        Raises:
            NotFound, ModelFailure, StorageFailure: batches done so far are kept.
        """
        memory, epoch, last_seq = await self._read(owner, session_id)
        if not (at_once or self._rules.extraction_is_due(memory, last_seq)):
            return memory
        while batch := await self._batch(owner, session_id, memory.extracted_to, last_seq):
            said = [message for message in batch if message.role is Author.USER]
            structured = merge(
                memory.structured,
                await self._update_from(memory, said) if said else Update(),
                sources=[message.seq for message in said],
                said=[message.content for message in said],
                max_items=self._rules.max_items,
                defaults=default_preferences(self._rules.language),
            )
            done = replace(memory, structured=structured, extracted_to=batch[-1].seq)
            stored = await self._store(owner, session_id, done, epoch)
            memory, epoch, _ = await self._read(owner, session_id)
            if not stored:
                break
        return memory

    async def _read(self, owner: Owner, session_id: SessionId) -> tuple[Memory, int, int]:
        """The memory, the epoch and the last number; what was reset away counts as taken in."""
        memory, session = await self._storage.transact(
            lambda tx: (tx.sessions.memory(owner, session_id), tx.sessions.get(owner, session_id))
        )
        reset_at = session.last_seq - session.message_count
        memory = replace(
            memory,
            summarized_to=max(memory.summarized_to, reset_at),
            extracted_to=max(memory.extracted_to, reset_at),
        )
        return memory, session.epoch, session.last_seq

    async def _store(self, owner: Owner, session_id: SessionId, memory: Memory, epoch: int) -> bool:
        return await self._storage.transact(
            lambda tx: tx.sessions.put_memory(owner, session_id, memory, epoch=epoch)
        )

    async def _batch(
        self, owner: Owner, session_id: SessionId, after: int, until: int
    ) -> list[Message]:
        """The oldest whole turns with `after < seq <= until` that fit into one request.

        At least one, if there is any: a question is not parted from its answer, since a prompt
        cannot begin with an answer.
        """
        messages = await self._storage.transact(
            lambda tx: tx.sessions.messages_from(
                owner, session_id, after=after, limit=_BATCH_MESSAGES + 1
            )
        )
        end = size = 0
        for count, message in enumerate(messages[:_BATCH_MESSAGES], start=1):
            size += len(message.content.encode())
            if message.seq > until or (end and size > _BATCH_BYTES):
                break
            if count == len(messages) or messages[count].role is Author.USER:
                end = count
        return list(messages[:end])

    async def _summary_of(self, summary: str, batch: Sequence[Message]) -> str:
        told = [m for m in batch if m.role is Author.USER or is_answer(m)]
        content = {
            "summary": summary,
            "max_words": self._rules.summary_max_words,
            "messages": [{"role": m.role, "text": m.content} for m in told],
        }
        language = language_of(prompts_of(batch), preferred=self._rules.language)
        system = SUMMARIZE[language].format(max_words=self._rules.summary_max_words)
        answer = await self._ask(Task.SUMMARIZE, system, self._block(content))
        words = answer.split()[: self._rules.summary_max_words]
        if not words:
            raise ModelError("The model gave no summary.")
        return " ".join(words)[:MAX_SUMMARY_CHARS]

    async def _update_from(self, memory: Memory, said: Sequence[Message]) -> Update:
        """What the model finds; after one failed repair nothing, so that nobody asks for ever."""
        content = {
            "memory": memory_wire(memory),
            "messages": [{"seq": m.seq, "text": m.content} for m in said],
        }
        language = language_of(prompts_of(said), preferred=self._rules.language)
        system = EXTRACT[language]
        block = self._block(content)
        answer = await self._ask(Task.EXTRACT_MEMORY, system, block)
        try:
            return _parsed(answer)
        except InvalidInput:
            bad = PromptMessage(role=Author.ASSISTANT, text=answer.strip() or "...")
            repair = PromptMessage(role=Author.USER, text=REPAIR[language])
            answer = await self._ask(Task.EXTRACT_MEMORY, system, block, bad, repair)
        try:
            return _parsed(answer)
        except InvalidInput:
            logger.warning("the model's memory update is no JSON object; batch skipped")
            return Update()

    def _block(self, content: Mapping[str, object]) -> PromptMessage:
        block = data_block(content, nonce=self._new_id()[:16])
        return PromptMessage(role=Author.USER, text=block.rstrip())

    async def _ask(self, task: Task, system: str, *messages: PromptMessage) -> str:
        request = ModelRequest(
            task=task,
            system=system,
            messages=messages,
            max_output_tokens=self._rules.max_output_tokens,
        )
        return (await self._model.complete(request)).text


def _parsed(text: str) -> Update:
    """Read the model's JSON; a fence around it is common and harmless.

    Raises:
        InvalidInput: it is no JSON object.
    """
    body = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        return update_from_json(json.loads(body))
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The memory update is no JSON.") from error
