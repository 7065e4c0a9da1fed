"""The two writes of a turn, on the event loop but for the sync.

What they do besides takes a few calls to files that the system has in memory, less than a way to a
thread and back. What is not the usual turn is left to `SessionFiles`, in a thread: a log that is
torn, damaged or was replaced, a question that a crash left open, a failed append to be undone.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from itertools import islice, takewhile

from chatbot.adapters.storage.fields import Damaged
from chatbot.adapters.storage.json_files.appends import Tail, Written
from chatbot.adapters.storage.json_files.files import Files, translated
from chatbot.adapters.storage.json_files.head import load_head
from chatbot.adapters.storage.json_files.leases import Held
from chatbot.adapters.storage.json_files.log import LogView
from chatbot.adapters.storage.json_files.places import Place
from chatbot.adapters.storage.json_files.sessions import SessionFiles
from chatbot.domain.chat import Author, Interruption, Lease, Message, Question, TurnContext
from chatbot.domain.errors import NotFound, StorageFailure, cause_of
from chatbot.domain.memory import Memory

_log = logging.getLogger("chatbot.storage")
InThread = Callable[[Callable[[], None]], "asyncio.Future[None]"]


class TurnFiles:
    """Stores questions and answers.

    Args:
        in_thread: does work that blocks.
    """

    def __init__(self, sessions: SessionFiles, files: Files, in_thread: InThread) -> None:
        self._sessions, self._files, self._in_thread = sessions, files, in_thread
        self._leases, self._appends = sessions.leases, sessions.appends
        self._left: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Wait for writes whose callers were cancelled."""
        if self._left:
            await asyncio.wait(self._left)

    async def store_question(self, question: Question) -> TurnContext | None:
        """As `SessionRepository.store_question`; None if nothing was done, since it is unusual."""
        place = self._sessions.place(question.owner, question.session_id)
        if self._appends.is_unsure(place):
            return None
        lease = Lease(
            owner=question.owner, session_id=question.session_id, turn_id=question.turn_id
        )
        held = self._take(lease, place)
        try:
            seen = self._look(held, place, question)
            if seen is None:
                self._leases.give_back(lease)
                return None
            memory, history = seen
            written = self._write(held, lease, Author.USER, question.text, ts=question.ts)
        except BaseException:
            self._leases.give_back(lease)
            raise
        await self._sync(lease, held, written, releases=False)
        history = (*history, written.message)[-question.history_limit :]
        return TurnContext(lease=lease, memory=memory, history=history)

    async def store_answer(
        self, lease: Lease, text: str, *, ts: datetime, reason: Interruption | None
    ) -> bool:
        """As `SessionRepository.store_answer`; False if nothing was done, since it is unusual."""
        held = self._leases.get(lease)
        if held is None:
            return False
        try:
            if not self._is_as_it_was(held):
                return False
            written = self._write(held, lease, Author.ASSISTANT, text, ts=ts, reason=reason)
        except BaseException:
            self._leases.give_back(lease)
            raise
        await self._sync(lease, held, written, releases=True)
        return True

    def _is_as_it_was(self, held: Held) -> bool:
        """Whether the open log is still the session's, and ends where it ended after the question."""
        if held.log is None or held.tail is None or self._appends.is_unsure(held.place):
            return False
        return held.tail.status == self._files.status(held.log)

    def _take(self, lease: Lease, place: Place) -> Held:
        """Take the session, and open its log for as long as it is held."""
        try:
            log = self._files.open_to_append(place.log)
        except FileNotFoundError as error:
            raise NotFound from error
        try:
            held = self._leases.take(lease, place)
        except BaseException:
            self._files.close(log)
            raise
        held.log = log
        return held

    def _look(
        self, held: Held, place: Place, question: Question
    ) -> tuple[Memory, tuple[Message, ...]] | None:
        """Memory, history and the end of the log, from one look at it; None if it is unusual."""
        try:
            view = LogView(
                self._files, held.log or 0, session_id=place.session_id, owner=place.owner
            )
            if view.status.links == 0 or view.size != view.end:
                return None
            memory = load_head(self._files, place, epoch=view.header.epoch)
            start, limit = question.history_start(memory), question.history_limit
            lines = islice(takewhile(lambda line: line.seq > start, view.lines()), limit)
            history = tuple(line.message() for line in lines)[::-1]
        except Damaged:
            return None
        if history and history[-1].role is Author.USER:
            return None
        held.tail = Tail(
            status=view.status,
            last_seq=view.last_seq,
            end=view.end,
            lacks_newline=view.lacks_newline,
        )
        return memory, history

    def _write(
        self,
        held: Held,
        lease: Lease,
        role: Author,
        text: str,
        *,
        ts: datetime,
        reason: Interruption | None = None,
    ) -> Written:
        def compose(seq: int) -> Message:
            return Message(
                seq=seq, role=role, content=text, ts=ts, turn_id=lease.turn_id, reason=reason
            )

        known, held.tail = held.tail, None
        with self._leases.writing(lease):
            return self._appends.write(held.place, held.log or 0, compose, known)

    async def _sync(self, lease: Lease, held: Held, written: Written, *, releases: bool) -> None:
        """Return when it is on the disk; then the session is free, if it is to be.

        A caller that is cancelled leaves that to a task, and the session free in any case.
        """
        log = held.log or 0
        try:
            syncing = self._files.sync_in_kernel(log) or self._in_thread(
                lambda: self._files.sync(log)
            )
            await asyncio.shield(syncing)
        except asyncio.CancelledError:
            task = asyncio.create_task(self._end_alone(syncing, lease, held, written))
            self._left.add(task)
            task.add_done_callback(self._left.discard)
            raise
        except (OSError, StorageFailure):
            await self._undo(lease, held, written)
            with translated:
                raise
        held.tail = written.tail
        if releases:
            self._leases.give_back(lease)

    async def _end_alone(
        self, syncing: "asyncio.Future[None]", lease: Lease, held: Held, written: Written
    ) -> None:
        try:
            await syncing
        except (OSError, StorageFailure) as error:
            _log.warning("a write failed after its caller was cancelled: %s", cause_of(error))
            await self._undo(lease, held, written)
        else:
            self._leases.give_back(lease)

    async def _undo(self, lease: Lease, held: Held, written: Written) -> None:
        """Cut off what is not on the disk; nobody may write behind it before."""

        def undo() -> None:
            try:
                self._appends.undo(held.place, held.log or 0, written.before)
            finally:
                self._leases.give_back(lease)

        await asyncio.shield(self._in_thread(undo))
