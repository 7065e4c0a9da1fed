"""Turns messages into memory, after the turn and off the request path.

An extraction is due after a session's first question and after every few turns, a summary when too
many messages are outside of it. The rest is extracted when the session becomes idle. Watermarks and
failures are stored with the memory, so that a restart loses nothing: unfinished work is done after
the session's next turn, or when a client reads its memory.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from chatbot.application.background_slots import BackgroundSlots
from chatbot.application.memory_rules import MemoryRules
from chatbot.application.memory_steps import MemorySteps
from chatbot.domain.chat import SessionId, SessionView
from chatbot.domain.errors import ChatbotError, NotFound, cause_of
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Activity, Telemetry

logger = logging.getLogger("chatbot.consolidation")

_AT_ONCE = 4  # consolidations of different sessions; people's turns come first
_OTHERS_S = 5.0
"""How long after a turn another process may still be consolidating it."""
_LOOK_AGAIN_S = 0.1
_ENDS_KEPT = 1000


_Key = tuple[Owner, SessionId]
"""Includes the owner, so that no caller can wait for a run of another owner's session."""


@dataclass(slots=True)
class _Run:
    """A run for a session; a turn that ends meanwhile makes it run `again`.

    `seen`, the newest known state, decides whether a step is tried, so that nothing is read if
    nothing is due. Its messages are those that a step may work on without reading the session.
    """

    seen: SessionView
    task: asyncio.Task[None] | None = None
    again: bool = False
    is_idle: bool = False
    extracted: asyncio.Event = field(default_factory=asyncio.Event)


class Consolidation:
    """Summarises and extracts, one run at a time per session."""

    def __init__(
        self,
        steps: MemorySteps,
        rules: MemoryRules,
        *,
        clock: Clock,
        telemetry: Telemetry = NO_TELEMETRY,
    ) -> None:
        self._steps = steps
        self._rules = rules
        self._clock = clock
        self._telemetry = telemetry
        self._runs: dict[_Key, _Run] = {}
        self._timers: dict[_Key, asyncio.TimerHandle] = {}
        self._slots = BackgroundSlots(_AT_ONCE)
        self._ended_at: OrderedDict[_Key, datetime] = OrderedDict()
        """When runs ended: turns that began before may have read older memory."""
        self._closing = False

    @property
    def backlog(self) -> int:
        """The number of sessions that are being consolidated or wait for a slot."""
        return len(self._runs)

    def schedule(self, seen: SessionView, *, asked_at: datetime) -> None:
        """Start what is due after a turn in the background; the rest waits until the session is idle.

        `seen` is the session after the turn, whose memory was read at `asked_at` or later.
        """
        if self._closing:
            return
        session, memory, rules = seen.session, seen.memory, self._rules
        key = (session.owner, session.id)
        self._stop_timer(key)
        ended_at = self._ended_at.pop(key, None)
        if ended_at is not None and ended_at >= asked_at:
            seen = _unread(seen)
        if rules.extraction_is_due(session, memory) or rules.summary_is_due(session, memory):
            self._begin(key, seen)
        elif rules.extraction_is_left(session, memory):
            self._start_timer(key, seen)

    async def resume(self, owner: Owner, session_id: SessionId) -> None:
        """Start in the background what is due for a session without a turn. No-op if it was deleted."""
        if self._closing:
            return
        try:
            seen = await self._steps.look(owner, session_id)
        except NotFound:
            return
        rules, session, memory = self._rules, seen.session, seen.memory
        if rules.extraction_is_due(session, memory) or rules.summary_is_due(session, memory):
            self._begin((owner, session_id), _unread(seen))

    async def wait_for(self, owner: Owner, session_id: SessionId) -> None:
        """Wait for the session's run, if there is one."""
        run = self._runs.get((owner, session_id))
        if run is not None and run.task is not None:
            await asyncio.wait({run.task})

    async def is_pending(self, owner: Owner, session_id: SessionId, *, within_s: float) -> bool:
        """Wait for an extraction that is due for an answered turn; return whether it is pending.

        An extraction that a restart left undone is started. A very recent turn may be another
        process's, so the method waits for that process instead.

        Raises:
            NotFound: the owner has no such session.
            StorageFailure: the store failed.
        """
        key, now = (owner, session_id), asyncio.get_running_loop().time
        deadline = now() + within_s
        while key not in self._runs:
            seen = await self._steps.look(owner, session_id)
            age_s = (self._clock() - seen.session.updated_at).total_seconds()
            is_answered = any(message.is_answer for message in seen.messages)
            if not is_answered or not self._is_to_be_extracted(seen, age_s):
                return False
            if self._closing or now() >= deadline:
                return True
            if age_s > _OTHERS_S:
                self._begin(key, _unread(seen), is_idle=True)
            else:
                await asyncio.sleep(_LOOK_AGAIN_S)
        extracted = self._runs[key].extracted
        if not extracted.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await extracted.wait()
        return not extracted.is_set()

    def _is_to_be_extracted(self, seen: SessionView, age_s: float) -> bool:
        if self._rules.extraction_is_due(seen.session, seen.memory):
            return True
        retry_at = seen.memory.extraction_setback.retry_at
        is_idle = age_s >= self._rules.idle_s and seen.session.last_seq >= retry_at
        return is_idle and self._rules.extraction_is_left(seen.session, seen.memory)

    async def aclose(self) -> None:
        """Cancel the running work, which is repeated later, and start no more."""
        self._closing = True
        for key in list(self._timers):
            self._stop_timer(key)
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._runs.clear()  # also of those that were cancelled before they began

    def _begin(self, key: _Key, seen: SessionView, *, is_idle: bool = False) -> None:
        if (run := self._runs.get(key)) is not None:
            run.again = True
            run.seen = SessionView(session=seen.session, memory=run.seen.memory, messages=())
            run.extracted.clear()
            return
        run = self._runs[key] = _Run(seen=seen, is_idle=is_idle)
        run.task = asyncio.create_task(self._run(key, run))

    def _start_timer(self, key: _Key, seen: SessionView) -> None:
        seen = _unread(seen)

        def begin() -> None:
            del self._timers[key]
            self._begin(key, seen, is_idle=True)

        self._timers[key] = asyncio.get_running_loop().call_later(self._rules.idle_s, begin)

    def _stop_timer(self, key: _Key) -> None:
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()

    async def _run(self, key: _Key, run: _Run) -> None:
        try:
            async with self._slots.acquired(key[0]):
                with (
                    self._telemetry.in_session(key[1]),
                    self._telemetry.during(Activity.CONSOLIDATION),
                ):
                    await self._catch_up(key, run)
        except NotFound:
            self._stop_timer(key)  # the session was deleted, and its memory with it
        finally:
            run.extracted.set()
            self._runs.pop(key, None)  # now, so that a turn that ends next begins another run
            self._ended_at[key] = self._clock()
            if len(self._ended_at) > _ENDS_KEPT:
                self._ended_at.popitem(last=False)

    async def _catch_up(self, key: _Key, run: _Run) -> None:
        rules, is_again = self._rules, True
        while is_again:
            run.again = False
            if run.is_idle or rules.extraction_is_due(run.seen.session, run.seen.memory):
                await self._take(partial(self._steps.extract, at_once=run.is_idle), key, run)
            if not run.again:
                run.extracted.set()
            for session_id in self._steps.lessons.take_emptied(key[0]):
                await self.resume(key[0], session_id)
            if rules.summary_is_due(run.seen.session, run.seen.memory):
                await self._take(self._steps.summarize, key, run)
            is_again = run.again
            self._resume_when_idle(key, run)
            run.is_idle = False

    def _resume_when_idle(self, key: _Key, run: _Run) -> None:
        """Extract what this run left because it failed or was not due yet, but only once."""
        if run.again or run.is_idle or key in self._timers:
            return
        if self._rules.extraction_is_left(run.seen.session, run.seen.memory):
            self._start_timer(key, run.seen)

    async def _take(self, step: Callable[..., Awaitable[Memory]], key: _Key, run: _Run) -> None:
        """Keep the memory that the step returns; after a failure, the previous one.

        Raises:
            NotFound: the session is gone.
        """
        seen = run.seen
        try:
            memory = await step(*key, seen=seen)
            run.seen = replace(run.seen, memory=memory)
            if memory.version != seen.memory.version + 1:
                run.seen = _unread(run.seen)
        except NotFound:
            raise
        except ChatbotError as error:
            run.seen = _unread(run.seen)
            logger.warning(
                "consolidation dropped: %s",
                type(error).__name__,
                extra={"session_id": key[1], "cause": cause_of(error)},
            )


def _unread(seen: SessionView) -> SessionView:
    """Return the session as one that a step must read first."""
    return replace(seen, messages=())
