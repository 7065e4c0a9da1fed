"""The two steps of turning what was said into memory: extracting from it, and summarising it.

Each takes the messages after its watermark, asks the model, and commits only if the memory is still
what it was; else the work is dropped. Where the turn before has read those messages, and nothing is
left over, one transaction stores the result; else another reads first. A step that fails is
postponed by 1, 2, 4 ... 32 turns, doubling with each failure in a row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from chatbot.application.budgets import Budgets
from chatbot.application.learning import Learner
from chatbot.application.learning_bisection import Known, Learn
from chatbot.application.lesson_storage import LessonStorage, load_session
from chatbot.application.memory_rules import MemoryRules
from chatbot.application.mentions import Mentions
from chatbot.domain.chat import (
    NO_MESSAGES,
    Message,
    MessageRange,
    MessageRole,
    Session,
    SessionId,
    SessionView,
)
from chatbot.domain.errors import ModelFailure
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory, Setback
from chatbot.domain.person_memory import PersonMemory
from chatbot.domain.ports.session_log import Select, select_none
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction

_BATCH_MESSAGES = 40
_BATCH_BYTES = 12_000  # a batch and its summary stay well inside a context of 8,192 tokens
_LONGEST_SETBACK_TURNS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What differs between the two steps.

    The newest `window` messages are left out. It reads `context` messages
    before those that it takes in. `needs_details`: the step needs the details of
    answers, which are not read with the history of a turn.
    """

    window: int
    context: int
    needs_details: bool
    is_due: Callable[[Session, Memory], bool]
    watermark: Callable[[Memory], int]
    setback: Callable[[Memory], Setback]
    with_setback: Callable[[Memory, Setback], Memory]
    learn: Learn


class MemorySteps:
    """Summarises and extracts.

    Both methods process the unprocessed messages in batches, if the step is due or with `at_once`.
    `seen` is the session for which it is due, with its newest messages if they are known. They
    raise NotFound, ModelFailure and StorageFailure; completed batches are kept.
    """

    def __init__(
        self,
        storage: Storage,
        learner: Learner,
        rules: MemoryRules,
        budgets: Budgets,
        mentions: Mentions | None = None,
    ) -> None:
        self._storage = storage
        self.lessons = LessonStorage(storage, learner, mentions)
        self._budgets = budgets
        self._summary = _Step(
            window=rules.window,
            context=0,
            needs_details=True,
            is_due=rules.summary_is_due,
            watermark=lambda memory: memory.summarized_to,
            setback=lambda memory: memory.summary_setback,
            with_setback=lambda memory, setback: replace(memory, summary_setback=setback),
            learn=learner.summarize,
        )
        self._extraction = _Step(
            window=0,
            context=2,
            needs_details=False,
            is_due=rules.extraction_is_due,
            watermark=lambda memory: memory.extracted_to,
            setback=lambda memory: memory.extraction_setback,
            with_setback=lambda memory, setback: replace(memory, extraction_setback=setback),
            learn=learner.extract,
        )

    async def look(self, owner: Owner, session_id: SessionId) -> SessionView:
        """Return the session and its memory, with the newest message."""
        return await self._storage.transact(
            lambda tx: load_session(tx, owner, session_id, lambda *_: MessageRange(limit=1))
        )

    async def summarize(
        self,
        owner: Owner,
        session_id: SessionId,
        *,
        at_once: bool = False,
        seen: SessionView | None = None,
    ) -> Memory:
        """Update the summary with the messages before the window."""
        return await self._catch_up(owner, session_id, self._summary, at_once=at_once, known=seen)

    async def extract(
        self,
        owner: Owner,
        session_id: SessionId,
        *,
        at_once: bool = False,
        seen: SessionView | None = None,
    ) -> Memory:
        """Update the person's memory with what they said in the session."""
        return await self._catch_up(
            owner, session_id, self._extraction, at_once=at_once, known=seen
        )

    async def _catch_up(
        self,
        owner: Owner,
        session_id: SessionId,
        step: _Step,
        *,
        at_once: bool,
        known: SessionView | None,
    ) -> Memory:
        def batch_after(session: Session, memory: Memory) -> MessageRange:
            after = step.watermark(memory)
            is_left = after < session.last_seq
            limit = _BATCH_MESSAGES + 1 + step.context if is_left else 0
            return MessageRange(after=after - step.context, limit=limit, oldest=True)

        def batch_if_due(session: Session, memory: Memory) -> MessageRange:
            is_due = at_once or step.is_due(session, memory)
            return batch_after(session, memory) if is_due else NO_MESSAGES

        def put_off(tx: Transaction) -> None:
            """Store that the step failed, unless the session was reset meanwhile."""
            now = load_session(tx, owner, session_id, select_none)
            failures = step.setback(now.memory).failures + 1
            turns = min(2 ** (failures - 1), _LONGEST_SETBACK_TURNS)
            setback = Setback(failures=failures, retry_at=now.session.last_seq + 2 * turns)
            memory = step.with_setback(now.memory, setback)
            tx.sessions.put_memory(owner, session_id, memory, epoch=seen.session.epoch)

        def load(tx: Transaction, select: Select) -> tuple[SessionView, PersonMemory]:
            person = tx.person_memories.of(owner)
            return load_session(tx, owner, session_id, select), person

        messages: tuple[Message, ...] = ()
        if known is not None and not step.needs_details:
            messages = _following(known.messages, step.watermark(known.memory))
        if known is not None and messages:
            seen = known
            person = await self._storage.transact(lambda tx: tx.person_memories.of(owner))
        else:
            seen, person = await self._storage.transact(partial(load, select=batch_if_due))
        until = seen.session.last_seq - step.window
        async with self._budgets.background() as meter:
            while batch := _whole_turns(seen.messages, step.watermark(seen.memory), until):
                before = Known(
                    session_id=session_id,
                    memory=seen.memory,
                    person=person,
                    said_before=_said_before(seen.messages, batch[0].seq),
                )
                try:
                    learned = await step.learn(before, batch)
                except ModelFailure:
                    await self._storage.transact(put_off)
                    raise
                new = learned.with_memory(step.with_setback(learned.memory, Setback()))
                bill = None if meter is None else await self._budgets.bill(meter)
                stored = await self.lessons.store(before, new, epoch=seen.session.epoch, bill=bill)
                if stored is not None and step.watermark(stored) >= until:
                    return stored
                rest = select_none if stored is None else batch_after
                seen, person = await self._storage.transact(partial(load, select=rest))
        return seen.memory


def _following(messages: Sequence[Message], watermark: int) -> tuple[Message, ...]:
    """Return the messages after the watermark; none if the first of them is missing."""
    after = tuple(message for message in messages if message.seq > watermark)
    return after if after and after[0].seq == watermark + 1 else ()


def _said_before(messages: Sequence[Message], seq: int) -> str:
    """The last message of the user before this one; empty if it is not among the messages."""
    said = [each.content for each in messages if each.seq < seq and each.role is MessageRole.USER]
    return said[-1] if said else ""


def _whole_turns(messages: Sequence[Message], after: int, until: int) -> Sequence[Message]:
    """The oldest whole turns with `after < seq <= until` that fit into one request.

    At least one, if there is any: a question is not parted from its answer, since a prompt cannot
    begin with an answer.
    """
    messages = [message for message in messages if message.seq > after]
    end = size = 0
    for count, message in enumerate(messages[:_BATCH_MESSAGES], start=1):
        size += len(message.content.encode())
        if message.seq > until or (end and size > _BATCH_BYTES):
            break
        if count == len(messages) or messages[count].role is MessageRole.USER:
            end = count
    return messages[:end]
