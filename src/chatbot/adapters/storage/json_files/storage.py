"""Storage in a folder of JSON files."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Self

from chatbot.adapters.filesystem.atomic import make_durable_folders, write_new
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.blobs import JsonBlobs
from chatbot.adapters.storage.json_files.check import Finding, inspect
from chatbot.adapters.storage.json_files.counter_lines import COUNTERS
from chatbot.adapters.storage.json_files.counters import JsonCounters
from chatbot.adapters.storage.json_files.journal import JsonJournal
from chatbot.adapters.storage.json_files.log_reader import forget_messages
from chatbot.adapters.storage.json_files.records import JsonRecords, RecordStore
from chatbot.adapters.storage.json_files.search_index import JsonSearchIndex
from chatbot.adapters.storage.json_files.session_log import JsonSessionLog
from chatbot.adapters.storage.json_files.steps import Steps, run_on_loop
from chatbot.adapters.storage.threads import Threads
from chatbot.domain.chat import Lease, Message, Question, TurnContext
from chatbot.domain.errors import StorageFailure, StorageUnavailable, cause_of
from chatbot.domain.identity import FamilyId, UserId
from chatbot.domain.person_memory import MEMORY_ON, MemorySettings
from chatbot.domain.ports.counters import Addition, Bill
from chatbot.domain.ports.storage import ROOM_BYTES, Found, Storage, StoredCaller
from chatbot.domain.repositories.refresh_families import REFRESH_FAMILIES
from chatbot.domain.repositories.roles import ROLES
from chatbot.domain.repositories.users import USERS
from chatbot.domain.transaction import Transaction

_THREADS = 8
_log = logging.getLogger("chatbot.storage")


class JsonFileStorage(Storage):
    """A folder with JSON files, which several processes on one machine can share.

    Guaranteed: every write is durable when `transact` returns, except for counters, and
    each write is atomic by itself, whenever the process or the power fails; a reset empties
    messages and memory in one instant. Damage is detected by checksums, affects only its session
    and is never overwritten.

    Not guaranteed: rollback. What was written before an exception stays, each write being complete
    by itself. Not for network file systems without working locks, and not encrypted: use disk
    encryption.
    """

    def __init__(
        self,
        root: Path,
        files: Files | None = None,
        *,
        memory_default: MemorySettings = MEMORY_ON,
    ) -> None:
        self._memory_default = memory_default
        self._root, self._files = root, files or Files()
        self._threads: Threads | None = None
        self._turns: set[asyncio.Task[object]] = set()
        self._sessions = JsonSessionLog(root / "memory", self._files)
        self._records = RecordStore(root, self._files, is_serving=True)
        self._counters = JsonCounters(root / COUNTERS, self._files)
        self._journal = JsonJournal(root, self._files)
        sessions = self._sessions
        self._index = JsonSearchIndex(sessions.index_file, sessions.index, sessions.index_cache)
        self._blobs = JsonBlobs(root, self._files)

    async def __aenter__(self) -> Self:
        """Create the folders, and the roles of a store without users.

        Raises:
            StorageUnavailable: a folder's name belongs to something else, or to a symbolic link.
        """
        self._threads = Threads(_THREADS, name="chatbot-storage")
        try:
            await self._in_thread(self._open)
            self._files.enable_kernel_fsync()
        except BaseException:
            await self._end_threads()
            raise
        return self

    def _open(self) -> None:
        make_durable_folders(self._files, self._root)
        is_new = not self._records.has_files()
        self._records.open()
        if is_new:
            self._records.make_initial()
        self._counters.open()
        self._sessions.open()

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            if self._turns:
                await asyncio.wait(self._turns)
            await self._end_threads()
        finally:
            self._files.disable_kernel_fsync()
            self._sessions.close()

    async def _end_threads(self) -> None:
        """Wait for writes in progress; new work is rejected."""
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.to_thread(threads.end)

    async def find_caller(self, user_id: UserId, family_id: FamilyId | None = None) -> StoredCaller:
        """Costs one status check for each of three files, unless one has changed."""
        self._require_open()
        known = self._known_caller(user_id, family_id)
        return await super().find_caller(user_id, family_id) if known is None else known

    def _known_caller(self, user_id: UserId, family_id: FamilyId | None) -> StoredCaller | None:
        """Return the caller if no file has to be read."""
        users, roles = self._records.of(USERS).known(), self._records.of(ROLES).known()
        if users is None or roles is None:
            return None
        is_signed_in = False
        if family_id is not None:
            families = self._records.of(REFRESH_FAMILIES).known(family_id)
            if families is None:
                return None
            family = families.get((family_id,))
            is_signed_in = family is not None and family.signs_in(user_id)
        by_name = {role.name: role for role in roles.by_key.values()}
        return StoredCaller(users.get((user_id,)), by_name, is_signed_in)

    async def store_question(self, question: Question) -> TurnContext:
        return await self._take(self._sessions.question_steps(question), question.lease)

    async def store_answer(self, lease: Lease, answer: Message, bill: Bill | None = None) -> None:
        if bill is not None:
            await self._settle(bill)
        await self._take(self._sessions.answer_steps(lease, answer), lease)

    async def _settle(self, bill: Bill) -> None:
        """Settle a bill: on the event loop, unless another process counts.

        The answer is stored even if this fails.
        """

        def settle() -> None:
            self._counters.settle(bill.reserved, bill.used, now=bill.at)

        try:
            if not self._counters.try_settle(bill):
                await self._in_thread(settle)
        except StorageFailure as error:
            _log.error(
                "the usage of a turn could not be stored: %s", cause_of(error)
            )  # no traceback

    async def _take(self, steps: Steps[Found], lease: Lease) -> Found:
        """Take the steps of a turn on the event loop.

        If the caller is cancelled, all steps are still taken, and then the session is released.
        """
        threads = self._require_open()
        task = asyncio.create_task(run_on_loop(steps, threads.run))
        self._turns.add(task)
        task.add_done_callback(self._turns.discard)
        try:
            with _whole():
                return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            task.add_done_callback(lambda _: self._sessions.release(lease))
            raise

    async def add_counts(
        self, additions: Sequence[Addition], *, now: datetime
    ) -> Sequence[Addition]:
        """Runs on the event loop, because it takes less time than waking a thread, unless another
        process is counting.
        """
        self._require_open()
        with _whole():
            found = self._counters.try_add(additions, now=now)
        return await super().add_counts(additions, now=now) if found is None else found

    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        """Run the work in one thread. An exception rolls nothing back, see the class."""
        return await self._in_thread(lambda: self._do(work))

    def _do(self, work: Callable[[Transaction], Found]) -> Found:
        on_commit: list[Callable[[], None]] = []
        with JsonRecords(self._records) as records:
            transaction = Transaction(
                sessions=self._sessions,
                records=records,
                counters=self._counters,
                journal=self._journal,
                index=self._index,
                blobs=self._blobs,
                is_atomic=False,
                on_commit=on_commit,
                memory_default=self._memory_default,
            )
            try:
                return work(transaction)
            finally:  # also after an exception, which undoes nothing
                for call in on_commit:
                    call()

    def _require_open(self) -> Threads:
        if self._threads is None:
            raise StorageUnavailable("The store is not open.")
        return self._threads

    async def _in_thread(self, work: Callable[[], Found]) -> Found:
        with _whole():
            return await self._require_open().run(work)

    def renewing(self, lease: Lease) -> AbstractContextManager[None]:  # noqa: ARG002 # the kernel keeps it
        return nullcontext()

    def forget(self) -> None:
        forget_messages()
        self._sessions.index.forget()

    async def check(self) -> None:
        await self._in_thread(self._check)

    def _check(self) -> None:
        probe = self._root / f".probe-{secrets.token_hex(8)}"
        write_new(self._files, probe, bytes(ROOM_BYTES))
        self._files.remove(probe)

    async def inspect(self) -> Sequence[str]:
        return [str(finding) for finding in await self.findings()]

    async def make_initial_records(self) -> None:
        """Write the records of a new store, such as the roles, if their files do not exist."""
        await self._in_thread(self._records.make_initial)

    async def findings(self) -> list[Finding]:
        """Read everything, verify every checksum, and return the problems found."""
        return await self._in_thread(lambda: inspect(self._root, self._files))


def _log_failure(task: asyncio.Task[Found]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.warning("a write failed after its caller was cancelled: %s", cause_of(error))


@contextmanager
def _whole() -> Iterator[None]:
    """Translate the error of a missing file that must exist."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageUnavailable("Part of the store is missing.") from error
