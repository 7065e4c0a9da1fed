"""Transactions on a folder of JSON files: the two writes of a turn, cancellation, exceptions."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import asyncio
import threading
from contextvars import ContextVar
from functools import partial
from pathlib import Path

import pytest

from chatbot.adapters.storage.json_files import storage as storage_module
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import (
    InterruptReason,
    Lease,
    MessageRole,
)
from chatbot.domain.errors import (
    SessionBusy,
    StorageFailure,
    StorageUnavailable,
)
from chatbot.domain.transaction import Transaction
from json_store import (
    ANA,
    ONE,
    T0,
    TURN,
    TWO,
    Faulty,
    add_message,
    eventually,
    later,
    messages_of,
    new_session,
    sessions_of,
)
from samples import new_message


class TestTurns:
    """The two transactions of a turn: question and answer."""

    async def begin(self, storage: JsonFileStorage) -> None:
        await storage.transact(lambda tx: tx.sessions.create(new_session()))

    @staticmethod
    def ask(tx: Transaction) -> Lease:
        lease = tx.sessions.acquire(ANA, ONE, TURN)
        tx.sessions.append(
            lease,
            new_message(lease, MessageRole.ASSISTANT, "", ts=T0, reason=InterruptReason.CRASH),
        )
        tx.sessions.append(lease, new_message(lease, MessageRole.USER, "asked", ts=later(1)))
        return lease

    @staticmethod
    def answer(tx: Transaction, lease: Lease) -> None:
        try:
            tx.sessions.append(
                lease, new_message(lease, MessageRole.ASSISTANT, "answered", ts=later(2))
            )
        finally:
            tx.sessions.release(lease)

    async def test_turn_of_two_transactions_is_stored(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            await self.begin(storage)
            for _ in range(2):
                lease = await storage.transact(self.ask)
                with pytest.raises(SessionBusy):
                    await storage.transact(self.ask)
                await storage.transact(partial(self.answer, lease=lease))
        async with JsonFileStorage(root) as storage:
            assert [m.content for m in messages_of(storage)] == ["", "asked", "answered"] * 2
            assert [m.seq for m in messages_of(storage)] == [1, 2, 3, 4, 5, 6]
            assert await storage.findings() == []

    async def test_write_returns_and_releases_the_lock_only_after_fsync(self, root: Path) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            await self.begin(storage)
            lease = await storage.transact(self.ask)
            files.may_sync.clear()
            answering = asyncio.create_task(storage.transact(lambda tx: self.answer(tx, lease)))
            await asyncio.to_thread(files.is_syncing.wait, 10)
            with pytest.raises(SessionBusy):
                sessions_of(storage).acquire(ANA, ONE, TURN)
            assert not answering.done()
            files.may_sync.set()
            await answering
            sessions_of(storage).release(sessions_of(storage).acquire(ANA, ONE, TURN))

    @staticmethod
    def ask_in_good_order(tx: Transaction) -> Lease:
        """Store a question as a turn does: a failed write releases the lease."""
        lease = tx.sessions.acquire(ANA, ONE, TURN)
        try:
            tx.sessions.append(
                lease,
                new_message(lease, MessageRole.ASSISTANT, "", ts=T0, reason=InterruptReason.CRASH),
            )
            tx.sessions.append(lease, new_message(lease, MessageRole.USER, "asked", ts=later(1)))
        except BaseException:
            tx.sessions.release(lease)
            raise
        return lease

    @pytest.mark.parametrize("failing", ["fsync", "write"])
    async def test_failed_question_is_truncated_and_the_session_is_released(
        self, root: Path, log: Path, failing: str
    ) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            await self.begin(storage)
            before = log.read_bytes()
            files.failing = {failing}
            with pytest.raises(StorageFailure):
                await storage.transact(self.ask_in_good_order)
            files.failing = set()
            assert add_message(storage).seq == 1
            assert log.read_bytes().startswith(before)
            assert [m.content for m in messages_of(storage)] == ["one more"]
            assert await storage.findings() == []

    async def test_failed_answer_is_truncated_and_the_question_stays(self, root: Path) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            await self.begin(storage)
            lease = await storage.transact(self.ask)
            files.failing = {"fsync"}
            with pytest.raises(StorageUnavailable):
                await storage.transact(lambda tx: self.answer(tx, lease))
            files.failing = set()
            assert [m.content for m in messages_of(storage)] == ["", "asked"]
            assert add_message(storage).seq == 3

    async def test_cancelled_caller_leaves_a_complete_message_and_a_released_session(
        self, root: Path
    ) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            await self.begin(storage)
            lease = await storage.transact(self.ask)
            files.may_sync.clear()
            answering = asyncio.create_task(storage.transact(lambda tx: self.answer(tx, lease)))
            await asyncio.to_thread(files.is_syncing.wait, 10)
            answering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await answering
            files.may_sync.set()
            await storage.check()  # behind it in the queue, or in another thread
            await eventually(lambda: add_message(storage))
            assert [m.content for m in messages_of(storage)] == [
                "",
                "asked",
                "answered",
                "one more",
            ]

    async def test_answer_cancelled_while_queued_writes_nothing(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage_module, "_THREADS", 1)
        go_on = threading.Event()
        async with JsonFileStorage(root) as storage:
            await self.begin(storage)
            lease = await storage.transact(self.ask)
            blocking = asyncio.create_task(storage.transact(lambda _: go_on.wait(10)))
            await asyncio.sleep(0)
            answering = asyncio.create_task(storage.transact(lambda tx: self.answer(tx, lease)))
            await asyncio.sleep(0)
            answering.cancel()
            await asyncio.wait({answering})
            go_on.set()
            await blocking
            await storage.transact(partial(self.answer, lease=lease))
            assert [m.content for m in messages_of(storage)] == ["", "asked", "answered"]

    async def test_question_removed_from_the_log_is_reported_and_its_number_not_reused(
        self, root: Path, log: Path
    ) -> None:
        async with JsonFileStorage(root) as storage:
            await self.begin(storage)
            lease = await storage.transact(self.ask)
            lines = log.read_bytes().splitlines(keepends=True)
            log.write_bytes(b"".join(lines[:-1]))
            with pytest.raises(StorageUnavailable, match="message 2: removed"):
                await storage.transact(lambda tx: self.answer(tx, lease))
            assert log.read_bytes() == b"".join(lines[:-1])

    async def test_failed_write_of_a_cancelled_caller_is_logged(
        self, root: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            await self.begin(storage)
            lease = await storage.transact(self.ask)
            files.may_sync.clear()
            answering = asyncio.create_task(storage.transact(lambda tx: self.answer(tx, lease)))
            await asyncio.to_thread(files.is_syncing.wait, 10)
            answering.cancel()
            await asyncio.wait({answering})
            files.failing = {"late sync"}
            files.may_sync.set()
            await eventually(lambda: add_message(storage))
        assert "after its caller was cancelled" in caplog.text

    async def test_store_that_is_closed_takes_no_work(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            await self.begin(storage)
        with pytest.raises(StorageUnavailable):
            await storage.transact(self.ask)
        async with JsonFileStorage(root) as storage:
            assert messages_of(storage) == []


class TestTransactions:
    async def test_work_is_done_off_the_event_loop(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            thread = await storage.transact(lambda tx: threading.get_ident())
            assert thread != threading.get_ident()

    async def test_work_knows_the_context_of_its_caller(self, root: Path) -> None:
        request_id = ContextVar("request_id", default="")
        async with JsonFileStorage(root) as storage:
            request_id.set("abc")
            assert await storage.transact(lambda tx: request_id.get()) == "abc"

    async def test_cancelled_caller_does_not_stop_work_that_has_begun(self, root: Path) -> None:
        has_begun, may_go_on = threading.Event(), threading.Event()

        def work(tx: Transaction) -> None:
            tx.sessions.create(new_session(ONE))
            has_begun.set()
            assert may_go_on.wait(10)
            tx.sessions.create(new_session(TWO))

        async with JsonFileStorage(root) as storage:
            caller = asyncio.ensure_future(storage.transact(work))
            assert await asyncio.to_thread(has_begun.wait, 10)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            may_go_on.set()
        async with JsonFileStorage(root) as storage:
            assert {s.id for s in sessions_of(storage).page(ANA, limit=9)} == {ONE, TWO}

    async def test_exception_leaves_what_was_written_before_it(self, root: Path) -> None:
        def work(tx: Transaction) -> None:
            tx.sessions.create(new_session())
            raise ZeroDivisionError

        async with JsonFileStorage(root) as storage:
            with pytest.raises(ZeroDivisionError):
                await storage.transact(work)
            assert sessions_of(storage).get(ANA, ONE) == new_session()
