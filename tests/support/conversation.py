"""The use cases of a conversation, wired to the fakes that the package ships."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count

from chatbot.adapters.llm.scripted import Answer, ScriptedModel
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.budgets import Budgets
from chatbot.application.chat import Chat, Recall
from chatbot.application.consolidation import Consolidation
from chatbot.application.explanation import Explanations
from chatbot.application.learning import Learner
from chatbot.application.limit_rules import LimitRules
from chatbot.application.memory import MemoryEditor
from chatbot.application.memory_rules import MemoryRules
from chatbot.application.memory_steps import MemorySteps
from chatbot.application.metering import MeteredModel
from chatbot.application.prompt import PromptBuilder
from chatbot.application.recall import Recaller
from chatbot.application.recall_plan import MemoryRecall
from chatbot.application.session_room import SessionRoom
from chatbot.application.sessions import Sessions
from chatbot.application.shares import Shares
from chatbot.application.turn import Reply, ReplyEvent
from chatbot.domain.authorization import of_client
from chatbot.domain.chat import (
    InterruptReason,
    Message,
    MessageRange,
    MessageRole,
    SessionId,
    TurnId,
)
from chatbot.domain.identity import Client, ClientId, Principal
from chatbot.domain.memory import Memory
from chatbot.domain.memory_views import structured_of, taught_by
from chatbot.domain.permissions import Permission
from chatbot.domain.person_memory import PersonMemory
from chatbot.domain.ports.model import ModelRequest, Task
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.search_parts import build_search
from samples import new_message

PATIENCE_S = 30
"""How long a test waits for something quick; the machine may be busy with other work."""

START = datetime(2030, 1, 1, 9, 0, tzinfo=UTC)

RULES = MemoryRules(
    window=12,
    threshold=20,
    extract_every=6,
    idle_s=60,
    summary_max_words=140,
    max_items=20,
    structured=True,
    language="es",
    max_output_tokens=1024,
)
NO_MEMORY = replace(RULES, threshold=0, structured=False)


def caller(name: str, *permissions: Permission) -> Principal:
    """A caller who may chat and correct memory, or has the given permissions."""
    granted = frozenset(permissions or (Permission.CHAT, Permission.MEMORY))
    return of_client(Client(id=ClientId(name), permissions=granted, user_permissions=granted))


ANA = caller("ana")
BEN = caller("ben")


def fresh_ids() -> NewId:
    """Random-looking ids that are the same in every run."""
    numbers = count(1)
    return lambda: sha256(str(next(numbers)).encode()).hexdigest()[:32]


def ticking_clock() -> Clock:
    """A clock that advances by a second at every reading."""
    seconds = count()
    return lambda: START + timedelta(seconds=next(seconds))


def message(seq: int, content: str, *, reason: InterruptReason | None = None) -> Message:
    """A message of a session in which user and assistant alternate: odd numbers are the user's."""
    role = MessageRole.USER if seq % 2 else MessageRole.ASSISTANT
    turn_id = TurnId(f"{(seq + 1) // 2:032x}")
    return Message(seq=seq, role=role, content=content, ts=START, turn_id=turn_id, reason=reason)


def by_task(
    *,
    chat: Callable[[ModelRequest], Answer] = lambda _: "De acuerdo.",
    summarize: Callable[[ModelRequest], Answer] = lambda _: "Un resumen.",
    extract: Callable[[ModelRequest], Answer] = lambda _: "{}",
) -> Callable[[ModelRequest], Answer]:
    """Answers that depend on the task."""
    answers: Mapping[Task, Callable[[ModelRequest], Answer]] = {
        Task.CHAT: chat,
        Task.SUMMARIZE: summarize,
        Task.EXTRACT_MEMORY: extract,
    }
    return lambda request: answers[request.task](request)


def prompt_builder_of(
    rules: MemoryRules = RULES, *, instructions: str = "", context_tokens: int = 8192
) -> PromptBuilder:
    return PromptBuilder(
        assistant_name="Asistente",
        company_instructions=instructions,
        language=rules.language,
        window=rules.window,
        threshold=rules.threshold,
        context_tokens=context_tokens,
        max_output_tokens=rules.max_output_tokens,
        new_id=fresh_ids(),
    )


class ChatApp:
    """All use cases of a conversation, wired together, with a scripted model."""

    def __init__(
        self,
        answers: Iterable[Answer] | Callable[[ModelRequest], Answer] | ScriptedModel,
        *,
        storage: Storage | None = None,
        rules: MemoryRules = RULES,
        notice: str | None = "",
        new_id: NewId | None = None,
        max_turns_per_owner: int = 1000,
        max_sessions: int = 1000,
        recall: Recall | None = None,
    ) -> None:
        new_id, clock = new_id or fresh_ids(), ticking_clock()
        self.storage = storage or InMemoryStorage()
        self.model = answers if isinstance(answers, ScriptedModel) else ScriptedModel(answers)
        self.prompt_builder = prompt_builder_of(rules)
        self.limit_rules = LimitRules(self.storage)
        self.budgets = Budgets(
            self.storage,
            self.limit_rules,
            None,
            model=self.model.name,
            zone=UTC,
            clock=clock,
            reserved_for=timedelta(minutes=5),
        )
        metered = MeteredModel(self.model, self.prompt_builder.estimator)
        learner = Learner(metered, rules, clock=clock, new_id=new_id)
        self.steps = MemorySteps(self.storage, learner, rules, self.budgets)
        self.consolidation = Consolidation(self.steps, rules, clock=clock)
        self.search = build_search(self.storage)
        self.recaller = Recaller(
            self.storage, self.search, memory=MemoryRecall.ITEMS_AND_MESSAGES, documents=True
        )
        room = SessionRoom(max_per_owner=max_sessions)
        self.chat = Chat(
            self.storage,
            metered,
            self.prompt_builder,
            self.consolidation,
            room,
            budgets=self.budgets,
            clock=clock,
            new_id=new_id,
            max_prompt_chars=4000,
            shares=Shares(per_user=max_turns_per_owner, per_client=max_turns_per_owner),
            notice=notice,
            recall=recall or self.recaller.recall,
        )
        self.sessions = Sessions(self.storage, room, clock=clock, new_id=new_id)
        self.explanations = Explanations(self.storage, clock=clock)
        self.memory_editor = MemoryEditor(
            self.storage,
            self.consolidation,
            clock=clock,
            new_id=new_id,
            max_items=rules.max_items,
        )

    def events(
        self,
        prompt: str,
        session_id: SessionId | None = None,
        *,
        who: Principal = ANA,
        stream: bool = True,
    ) -> AsyncGenerator[ReplyEvent]:
        return self.chat.reply(who, session_id, prompt, stream=stream)

    async def ask(
        self,
        prompt: str,
        session_id: SessionId | None = None,
        *,
        who: Principal = ANA,
        stream: bool = True,
    ) -> Reply:
        """Run a whole turn and wait for its memory updates."""
        events = [e async for e in self.events(prompt, session_id, who=who, stream=stream)]
        reply = events[-1]
        assert isinstance(reply, Reply)
        await self.consolidation.wait_for(who.owner, reply.session_id)
        return reply

    async def filled(self, turns: int, *, who: Principal = ANA) -> SessionId:
        """A session with this many turns, stored without model calls or memory.

        The messages are `question 1`, `answer 2`, `question 3` ...
        """
        session_id = await self.sessions.begin(who)
        await self.add_turns(session_id, turns, who=who)
        return session_id

    async def add_turns(self, session_id: SessionId, turns: int, *, who: Principal = ANA) -> None:
        owner, turn_id = who.owner, TurnId("f" * 32)

        def add(tx: Transaction) -> None:
            seq = tx.sessions.get(owner, session_id).last_seq
            with tx.sessions.held(owner, session_id, turn_id) as lease:
                for number in range(seq + 1, seq + 2 * turns, 2):
                    for role, text in (
                        (MessageRole.USER, f"question {number}"),
                        (MessageRole.ASSISTANT, f"answer {number + 1}"),
                    ):
                        tx.sessions.append(lease, new_message(lease, role, text, ts=START))

        await self.storage.transact(add)

    async def question_left_by_a_crash(self, session_id: SessionId, text: str) -> None:
        """Store what a turn has stored when its process dies."""

        def ask(tx: Transaction) -> None:
            with tx.sessions.held(ANA.owner, session_id, TurnId("c" * 32)) as lease:
                tx.sessions.append(lease, new_message(lease, MessageRole.USER, text, ts=START))

        await self.storage.transact(ask)

    async def messages(self, session_id: SessionId, *, who: Principal = ANA) -> list[Message]:
        return await self.storage.transact(
            lambda tx: list(tx.sessions.read(who.owner, session_id, MessageRange(limit=1000)))
        )

    async def memory(self, session_id: SessionId, *, who: Principal = ANA) -> Memory:
        """The session's memory, with the items that it has taught the person."""
        memory = await self.storage.transact(lambda tx: tx.sessions.memory(who.owner, session_id))
        person = await self.person(who=who)
        return replace(memory, structured=structured_of(taught_by(person, session_id)))

    async def person(self, *, who: Principal = ANA) -> PersonMemory:
        return await self.storage.transact(lambda tx: tx.person_memories.of(who.owner))

    async def extract(self, session_id: SessionId, *, at_once: bool = False) -> Memory:
        """Bring the person's memory up to date, and return it as `memory` does."""
        await self.steps.extract(ANA.owner, session_id, at_once=at_once)
        return await self.memory(session_id)

    async def is_free(self, session_id: SessionId) -> bool:
        """Whether the session is free, checked by acquiring and releasing it."""

        def acquired_and_released(tx: Transaction) -> bool:
            tx.sessions.release(tx.sessions.acquire(ANA.owner, session_id, TurnId("e" * 32)))
            return True

        return await self.storage.transact(acquired_and_released)

    def asked(self, task: Task = Task.CHAT) -> list[ModelRequest]:
        return [request for request in self.model.requests if request.task is task]


async def eventually(condition: Callable[[], object]) -> None:
    """Yield to other tasks until the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 # any condition, without an event
            await asyncio.sleep(0)


async def never() -> None:
    """A pause that never ends."""
    await asyncio.Event().wait()
