"""The two steps of turning what was said into memory: extracting from it, and summarising it.

Each reads the messages after its watermark, asks the model, and commits only if the memory is still
what it read; else the work is dropped. Where nothing is left over that is two transactions, one
that looks and one that stores. A step that fails is put off, the longer the more often it failed in
a row: for 1, 2, 4 ... 32 turns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from chatbot.application.learning import Learner
from chatbot.application.memory_rules import MemoryRules
from chatbot.domain.chat import Message, MessageRole, SessionId
from chatbot.domain.errors import ModelFailure
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory, Setback
from chatbot.domain.ports.storage import Storage, Transaction

_BATCH_MESSAGES = 40
_BATCH_BYTES = 12_000  # a batch and its summary stay well inside a context of 8,192 tokens
_LONGEST_SETBACK_TURNS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A session's memory, and how far its messages go.

    What was reset away, up to `reset_at`, counts as taken in. `messages` are the oldest that a step
    is to take in now.
    """

    memory: Memory
    epoch: int
    last_seq: int
    reset_at: int
    updated_at: datetime
    messages: Sequence[Message] = ()


class _Learn(Protocol):
    async def __call__(
        self, memory: Memory, batch: Sequence[Message], *, failures: int
    ) -> Memory: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What differs between the two: `window` newest messages are left alone."""

    window: int
    is_due: Callable[[Seen], bool]
    watermark: Callable[[Memory], int]
    setback: Callable[[Memory], Setback]
    with_setback: Callable[[Memory, Setback], Memory]
    learn: _Learn


class MemorySteps:
    """Summarises and extracts.

    Both methods take in what is not taken in yet, in batches, when the step is due or `at_once`.
    They raise NotFound, ModelFailure and StorageFailure; batches done until then are kept.
    """

    def __init__(self, storage: Storage, learner: Learner, rules: MemoryRules) -> None:
        self._storage = storage
        self._summary = _Step(
            window=rules.window,
            is_due=lambda seen: rules.summary_is_due(seen.memory, seen.last_seq),
            watermark=lambda memory: memory.summarized_to,
            setback=lambda memory: memory.summary_setback,
            with_setback=lambda memory, setback: replace(memory, summary_setback=setback),
            learn=learner.summarize,
        )
        self._extraction = _Step(
            window=0,
            is_due=lambda seen: rules.extraction_is_due(
                seen.memory, seen.last_seq, reset_at=seen.reset_at
            ),
            watermark=lambda memory: memory.extracted_to,
            setback=lambda memory: memory.extraction_setback,
            with_setback=lambda memory, setback: replace(memory, extraction_setback=setback),
            learn=learner.extract,
        )

    async def look(self, owner: Owner, session_id: SessionId) -> tuple[Seen, bool]:
        """Read the memory and how far the messages go, and whether the last turn was answered."""

        def look(tx: Transaction) -> tuple[Seen, bool]:
            newest = tx.sessions.messages(owner, session_id, limit=1)
            return _look(tx, owner, session_id), any(message.is_answer for message in newest)

        return await self._storage.transact(look)

    async def summarize(
        self, owner: Owner, session_id: SessionId, *, at_once: bool = False
    ) -> Memory:
        """Bring the summary up to date, leaving the window alone."""
        return await self._catch_up(owner, session_id, self._summary, at_once=at_once)

    async def extract(
        self, owner: Owner, session_id: SessionId, *, at_once: bool = False
    ) -> Memory:
        """Bring structured memory up to date from what the user said."""
        return await self._catch_up(owner, session_id, self._extraction, at_once=at_once)

    async def _catch_up(
        self, owner: Owner, session_id: SessionId, step: _Step, *, at_once: bool
    ) -> Memory:
        def look(tx: Transaction) -> Seen:
            seen = _look(tx, owner, session_id)
            return (
                _with_batch(tx, seen, owner, session_id, step)
                if at_once or step.is_due(seen)
                else seen
            )

        def store(tx: Transaction) -> Seen:
            """Store what was learned, and look for the next batch if there is one."""
            new = step.with_setback(learned, Setback())
            if not tx.sessions.put_memory(owner, session_id, new, epoch=seen.epoch):
                return _look(tx, owner, session_id)
            stored = replace(seen, memory=replace(new, version=new.version + 1), messages=())
            is_over = step.watermark(new) >= until
            return stored if is_over else _with_batch(tx, stored, owner, session_id, step)

        def put_off(tx: Transaction) -> None:
            """Store that the step failed, unless the session was reset meanwhile."""
            now = _look(tx, owner, session_id)
            failures = step.setback(now.memory).failures + 1
            turns = min(2 ** (failures - 1), _LONGEST_SETBACK_TURNS)
            setback = Setback(failures=failures, retry_at=now.last_seq + 2 * turns)
            memory = step.with_setback(now.memory, setback)
            tx.sessions.put_memory(owner, session_id, memory, epoch=seen.epoch)

        seen = await self._storage.transact(look)
        until = seen.last_seq - step.window
        while batch := _whole_turns(seen.messages, until):
            try:
                failures = step.setback(seen.memory).failures
                learned = await step.learn(seen.memory, batch, failures=failures)
            except ModelFailure:
                await self._storage.transact(put_off)
                raise
            seen = await self._storage.transact(store)
        return seen.memory


def _look(tx: Transaction, owner: Owner, session_id: SessionId) -> Seen:
    session, memory = tx.sessions.get(owner, session_id), tx.sessions.memory(owner, session_id)
    reset_at = session.last_seq - session.message_count
    memory = replace(
        memory,
        summarized_to=max(memory.summarized_to, reset_at),
        extracted_to=max(memory.extracted_to, reset_at),
    )
    return Seen(
        memory=memory,
        epoch=session.epoch,
        last_seq=session.last_seq,
        reset_at=reset_at,
        updated_at=session.updated_at,
    )


def _with_batch(
    tx: Transaction, seen: Seen, owner: Owner, session_id: SessionId, step: _Step
) -> Seen:
    after, limit = step.watermark(seen.memory), _BATCH_MESSAGES + 1
    if after >= seen.last_seq:
        return seen
    messages = tx.sessions.messages_from(owner, session_id, after=after, limit=limit)
    return replace(seen, messages=messages)


def _whole_turns(messages: Sequence[Message], until: int) -> Sequence[Message]:
    """The oldest whole turns with `seq <= until` that fit into one request.

    At least one, if there is any: a question is not parted from its answer, since a prompt cannot
    begin with an answer.
    """
    end = size = 0
    for count, message in enumerate(messages[:_BATCH_MESSAGES], start=1):
        size += len(message.content.encode())
        if message.seq > until or (end and size > _BATCH_BYTES):
            break
        if count == len(messages) or messages[count].role is MessageRole.USER:
            end = count
    return messages[:end]
