"""The two writes of a turn, on the event loop except for the sync.

They take a few calls to files that the system has in memory, which cost less than a round trip to a
thread. Anything unusual is left to `SessionFiles`, in a thread: a log that is torn, damaged or was
replaced, a question that a crash left open, a failed append to undo.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from chatbot.adapters.filesystem.files import Files, translated
from chatbot.adapters.storage.json_files.appends import Tail, Written
from chatbot.adapters.storage.json_files.head import load_head
from chatbot.adapters.storage.json_files.leases import Held
from chatbot.adapters.storage.json_files.log import LogView
from chatbot.adapters.storage.json_files.places import Place
from chatbot.adapters.storage.json_files.sessions import SessionFiles
from chatbot.adapters.storage.json_values import Damaged
from chatbot.domain.chat import Lease, Message, MessageRole, Question, TurnContext
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
        self._unfinished: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Wait for the writes that have begun."""
        if self._unfinished:
            await asyncio.wait(self._unfinished)

    async def store_question(self, question: Question) -> TurnContext | None:
        """As `SessionLog.store_question`; None if nothing was done, since it is unusual."""
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
            (asked,) = question.messages_after(history)
            written = self._write(held, lease, asked)
        except FileNotFoundError as error:
            self._leases.give_back(lease, with_file_of=place)
            raise NotFound from error
        except BaseException:
            self._leases.give_back(lease)
            raise
        await self._finished(lease, held, written, releases=False)
        history = (*history, written.message)[-question.history_limit :]
        return TurnContext(lease=lease, memory=memory, history=history)

    async def store_answer(self, lease: Lease, answer: Message) -> bool:
        """As `SessionLog.store_answer`; False if nothing was done, since it is unusual."""
        held = self._leases.get(lease)
        if held is None:
            return False
        try:
            if not self._is_as_it_was(held):
                return False
            written = self._write(held, lease, answer)
        except BaseException:
            self._leases.give_back(lease)
            raise
        await self._finished(lease, held, written, releases=True)
        return True

    def _is_as_it_was(self, held: Held) -> bool:
        """Whether the open log is still the session's, and ends where it ended after the question."""
        if held.log is None or held.tail is None or self._appends.is_unsure(held.place):
            return False
        return held.tail.status == self._files.status(held.log)

    def _take(self, lease: Lease, place: Place) -> Held:
        """Acquire the session, and open its log for as long as it is held."""
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
        """Memory, history and the end of the log, from one look at it; None if it is unusual.

        Raises:
            FileNotFoundError: the session was deleted before it was held.
        """
        try:
            view = LogView(
                self._files, held.log or 0, session_id=place.session_id, owner=place.owner
            )
            is_the_sessions = self._files.status_of(place.log).inode == view.status.inode
            if not is_the_sessions or view.size != view.end:
                return None
            memory = load_head(self._files, place, epoch=view.header.epoch)
            history = tuple(view.messages(question.history(memory)))
        except Damaged:
            return None
        if history and history[-1].role is MessageRole.USER:
            return None
        held.tail = Tail(
            status=view.status,
            last_seq=view.last_seq,
            end=view.end,
            lacks_newline=view.lacks_newline,
        )
        return memory, history

    def _write(self, held: Held, lease: Lease, message: Message) -> Written:
        known, held.tail = held.tail, None
        self._leases.begin_writing(lease)  # until `_finish`
        try:
            return self._appends.write(held.place, held.log or 0, message, known)
        except BaseException:
            held.writing.release()
            raise

    async def _finished(
        self, lease: Lease, held: Held, written: Written, *, releases: bool
    ) -> None:
        """Return when the message is on the disk; then the session is free, if it is to be.

        A write whose caller is cancelled is finished all the same, and then the session is free.
        """
        log = held.log or 0
        syncing = self._files.kernel_fsync(log) or self._in_thread(lambda: self._files.fsync(log))
        task = asyncio.create_task(self._finish(syncing, held, written))
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            task.add_done_callback(lambda _: self._leases.give_back(lease))
            raise
        except BaseException:
            self._leases.give_back(lease)
            raise
        if releases:
            self._leases.give_back(lease)

    async def _finish(self, syncing: "asyncio.Future[None]", held: Held, written: Written) -> None:
        """Wait for the sync. What it did not save is cut off before anybody writes behind it."""
        try:
            await syncing
            held.tail = written.tail
        except (OSError, StorageFailure):
            undo = partial(self._appends.undo, held.place, held.log or 0, written.before)
            await self._in_thread(undo)
            with translated:
                raise
        finally:
            held.writing.release()


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.warning("a write failed after its caller was cancelled: %s", cause_of(error))
