"""What only a folder of files can promise: durability, damage that stays local, many processes."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import asyncio
import json
import os
import re
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatbot.adapters.filesystem.atomic import locked, put
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files import storage as storage_module
from chatbot.adapters.storage.json_files.check import Problem
from chatbot.adapters.storage.json_files.leases import HeldSession
from chatbot.adapters.storage.json_files.paths import folder_name
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import (
    InterruptReason,
    Lease,
    Message,
    MessageRange,
    MessageRole,
    Session,
    SessionId,
    TurnId,
)
from chatbot.domain.errors import (
    Conflict,
    NotFound,
    SessionBusy,
    StorageFailure,
    StorageFull,
    StorageUnavailable,
)
from chatbot.domain.identity import DEFAULT_ROLES, Owner, User, UserId
from chatbot.domain.memory import Memory
from chatbot.domain.ports.session_log import SessionLog
from chatbot.domain.repositories.attempts import AttemptRepository
from chatbot.domain.repositories.users import Users
from chatbot.domain.throttling import account_throttle
from chatbot.domain.transaction import Transaction
from repositories import here_and_now
from samples import new_message

T0 = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)
ANA = Owner(kind="user", id="a" * 32)
BOB = Owner(kind="user", id="b" * 32)
TURN = TurnId("1" * 32)
GUESSED = account_throttle("ana@example.com")
ONE, TWO = SessionId("0" * 31 + "1"), SessionId("0" * 31 + "2")
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights or links")

pytestmark = pytest.mark.filterwarnings("error")


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def new_session(session_id: SessionId = ONE, owner: Owner = ANA) -> Session:
    return Session(id=session_id, owner=owner, title="", created_at=T0, updated_at=T0)


def sessions_of(storage: JsonFileStorage) -> SessionLog:
    return here_and_now(storage).sessions


def users_of(storage: JsonFileStorage) -> Users:
    return here_and_now(storage).users


def attempts_of(storage: JsonFileStorage) -> AttemptRepository:
    return here_and_now(storage).attempts


def talk(storage: JsonFileStorage, session_id: SessionId = ONE, count: int = 3) -> Lease:
    """A session with some messages, still held."""
    sessions = sessions_of(storage)
    sessions.create(new_session(session_id))
    lease = sessions.acquire(ANA, session_id, TURN)
    for n in range(count):
        author = MessageRole.ASSISTANT if n % 2 else MessageRole.USER
        sessions.append(lease, new_message(lease, author, f"text ñ {n}", ts=later(n)))
    return lease


def told(storage: JsonFileStorage, session_id: SessionId = ONE) -> list[Message]:
    return list(sessions_of(storage).read(ANA, session_id, MessageRange(limit=99)))


def add_message(storage: JsonFileStorage) -> Message:
    """One message in a turn of its own."""
    lease = sessions_of(storage).acquire(ANA, ONE, TURN)
    try:
        return sessions_of(storage).append(
            lease, new_message(lease, MessageRole.USER, "one more", ts=later(99))
        )
    finally:
        sessions_of(storage).release(lease)


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below with its time and bytes; lock files say nothing."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "memory" / folder_name(ANA)


@pytest.fixture
def log(folder: Path) -> Path:
    return folder / f"{ONE}.log"


class Faulty(Files):
    """A file system that fails at the calls that a test names."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.read_bytes = 0
        self.opened = 0
        self.now: int | None = None
        self.is_syncing, self.may_sync = threading.Event(), threading.Event()
        self.may_sync.set()

    def now_ns(self) -> int:
        return super().now_ns() if self.now is None else self.now

    def write(self, fd: int, data: bytes) -> int:
        if "write" in self.failing:
            super().write(fd, data[: len(data) // 2])
            raise StorageFull("full")
        short = max(1, len(data) // 3) if "short" in self.failing else len(data)
        return super().write(fd, data[:short])

    def fsync(self, fd: int) -> None:
        if "fsync" in self.failing:
            raise StorageUnavailable("sync")
        if not self.may_sync.is_set():
            self.is_syncing.set()
            self.may_sync.wait(10)
        if "late sync" in self.failing:
            self.failing = set()
            raise StorageUnavailable("sync")
        super().fsync(fd)

    def truncate(self, fd: int, length: int) -> None:
        if "truncate" in self.failing:
            raise StorageUnavailable("cut")
        super().truncate(fd, length)

    def replace(self, source: Path, target: Path) -> None:
        if "replace" in self.failing:
            raise StorageUnavailable("replace")
        super().replace(source, target)

    def remove(self, path: Path) -> None:
        if "remove" in self.failing:
            raise StorageUnavailable("remove")
        super().remove(path)

    def open_to_read(self, path: Path) -> int:
        self.opened += 1
        return super().open_to_read(path)

    def read_at(self, fd: int, length: int, offset: int) -> bytes:
        found = super().read_at(fd, length, offset)
        self.read_bytes += len(found)
        return found


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
            assert [m.content for m in told(storage)] == ["", "asked", "answered"] * 2
            assert [m.seq for m in told(storage)] == [1, 2, 3, 4, 5, 6]
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
        """As a turn asks: a write that fails gives the lease back."""
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
            assert [m.content for m in told(storage)] == ["one more"]
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
            assert [m.content for m in told(storage)] == ["", "asked"]
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
            assert [m.content for m in told(storage)] == ["", "asked", "answered", "one more"]

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
            assert [m.content for m in told(storage)] == ["", "asked", "answered"]

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
            assert told(storage) == []


async def eventually(work: Callable[[], object]) -> None:
    """Do the work once the session is free."""
    for _ in range(500):
        try:
            work()
        except SessionBusy:
            await asyncio.sleep(0.01)
        else:
            return
    raise AssertionError("still busy")


class TestTornWrites:
    async def test_session_cut_at_any_byte_keeps_its_whole_messages(
        self, root: Path, log: Path
    ) -> None:
        async with JsonFileStorage(root) as storage:
            sessions_of(storage).release(talk(storage))
            messages, whole = told(storage), log.read_bytes()
            ends = [at for at, byte in enumerate(whole, 1) if byte == ord("\n")]
            for length in range(ends[0], len(whole)):
                log.write_bytes(whole[:length])
                # A message that lacks its newline only is whole: it may count.
                count = sum(end - 1 <= length for end in ends[1:])
                assert told(storage) == messages[:count]
                assert add_message(storage).seq == count + 1
                assert [m.seq for m in told(storage)] == list(range(1, count + 2))
                assert told(storage)[:-1] == messages[:count]

    async def test_torn_bytes_are_quarantined_until_the_session_is_deleted(
        self, root: Path, log: Path
    ) -> None:
        async with JsonFileStorage(root) as storage:
            sessions_of(storage).release(talk(storage))
            whole = log.read_bytes()
            log.write_bytes(whole[:-30])
            add_message(storage)
            [aside] = (log.parent / ".work").iterdir()
            assert aside.name.startswith(f"{ONE}.torn-")
            assert aside.read_bytes() == whole[whole[:-30].rindex(b"\n") + 1 : -30]
            sessions_of(storage).delete(sessions_of(storage).acquire(ANA, ONE, TURN))
            assert not aside.exists()

    async def test_torn_write_truncated_during_a_read_is_not_damage(
        self, root: Path, log: Path
    ) -> None:
        files = Interrupted("read_at")
        async with JsonFileStorage(root, files) as storage, JsonFileStorage(root) as other:
            sessions_of(other).release(talk(other))
            with log.open("ab") as file:
                file.write(b'{"seq":4,' + b"x" * 20_000)
            files.meanwhile = partial(add_message, other)
            assert [m.seq for m in told(storage)] == [1, 2, 3, 4]

    async def test_header_truncated_at_any_byte_is_reported_and_left_alone(
        self, root: Path, log: Path
    ) -> None:
        head = log.with_suffix(".json")
        async with JsonFileStorage(root) as storage:
            sessions = sessions_of(storage)
            lease = talk(storage)
            sessions.put_memory(ANA, ONE, Memory(summary="ñ"), epoch=0)
            whole = head.read_bytes()
            for length in range(len(whole)):
                head.write_bytes(whole[:length])
                with pytest.raises(StorageUnavailable):
                    sessions.memory(ANA, ONE)
                assert head.read_bytes() == whole[:length]
            header = log.read_bytes().partition(b"\n")[0]
            for length in range(len(header) + 1):
                log.write_bytes(header[:length])
                with pytest.raises(StorageUnavailable):
                    told(storage)
                with pytest.raises(StorageUnavailable):
                    sessions.append(lease, new_message(lease, MessageRole.USER, "x", ts=T0))
                assert log.read_bytes() == header[:length]

    @pytest.mark.parametrize("tail", [b"\0", b"\0" * 700, b'{"seq":4,"ro' + b"\0" * 5000])
    async def test_nul_bytes_after_a_power_loss_are_torn(
        self, root: Path, log: Path, tail: bytes
    ) -> None:
        async with JsonFileStorage(root) as storage:
            sessions_of(storage).release(talk(storage))
            messages = told(storage)
            with log.open("ab") as file:
                file.write(tail)
            assert told(storage) == messages
            assert add_message(storage).seq == 4
            assert len(told(storage)) == 4

    async def test_lost_sectors_inside_the_last_message_are_torn(
        self, root: Path, log: Path
    ) -> None:
        async with JsonFileStorage(root) as storage:
            lease = talk(storage)
            messages, before = told(storage), log.stat().st_size
            sessions_of(storage).append(
                lease, new_message(lease, MessageRole.USER, "x" * 5000, ts=T0)
            )
            sessions_of(storage).release(lease)
            whole = bytearray(log.read_bytes())
            whole[1024:4096] = b"\0" * 3072
            assert before < 1024
            log.write_bytes(whole)
            assert told(storage) == messages
            assert add_message(storage).seq == 4


class TestDamage:
    @pytest.mark.parametrize("change", ["^\x01", "^\x80", "^\xff", "=\n", "=\0", '="'])
    async def test_every_changed_byte_of_a_log_is_detected_or_harmless(
        self, root: Path, log: Path, change: str
    ) -> None:
        async with JsonFileStorage(root) as storage:
            sessions_of(storage).release(talk(storage))
            sessions, whole, mtime = sessions_of(storage), log.read_bytes(), log.stat().st_mtime_ns
            expected = (told(storage), sessions.get(ANA, ONE))
            detected, variants = 0, list(changed_bytes(whole, change))
            for damaged in variants:
                log.write_bytes(damaged)
                os.utime(log, ns=(mtime, mtime))
                try:
                    assert (told(storage), sessions.get(ANA, ONE)) == expected
                except StorageUnavailable:
                    detected += 1
                    assert log.read_bytes() == damaged
            assert detected > len(variants) * 0.9

    @pytest.mark.parametrize("change", ["^\x01", "^\x80", "^\xff", "=\n", "=\0"])
    async def test_every_changed_byte_of_a_head_is_detected(
        self, root: Path, log: Path, change: str
    ) -> None:
        head = log.with_suffix(".json")
        async with JsonFileStorage(root) as storage:
            sessions = sessions_of(storage)
            sessions.release(talk(storage))
            sessions.put_memory(ANA, ONE, Memory(summary="ñ"), epoch=0)
            for damaged in changed_bytes(head.read_bytes(), change):
                head.write_bytes(damaged)
                with pytest.raises(StorageUnavailable):
                    sessions.memory(ANA, ONE)
                with pytest.raises(StorageUnavailable):
                    sessions.put_memory(ANA, ONE, Memory(version=1), epoch=0)
                assert head.read_bytes() == damaged

    async def test_damage_stays_with_its_session_and_is_reported(
        self, root: Path, log: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with JsonFileStorage(root) as storage:
            sessions = sessions_of(storage)
            sessions.release(talk(storage, ONE))
            sessions.release(talk(storage, TWO))
            damaged = log.read_bytes().replace(b"text", b"tExt", 1)
            log.write_bytes(damaged)
            with pytest.raises(StorageUnavailable, match="message 1: checksum mismatch"):
                told(storage, ONE)
            [record] = caplog.records
            assert (record.name, record.levelname) == ("chatbot.storage", "ERROR")
            assert str(log) in record.message
            with pytest.raises(StorageUnavailable):
                sessions.get(ANA, ONE)
            assert len(told(storage, TWO)) == 3
            listed = sessions.page(ANA, limit=9)
            assert {s.id: s.message_count for s in listed} == {ONE: 0, TWO: 3}
            assert log.read_bytes() == damaged

    async def test_damaged_session_takes_no_writes_but_can_be_deleted(
        self, root: Path, log: Path, folder: Path
    ) -> None:
        async with JsonFileStorage(root) as storage:
            sessions = sessions_of(storage)
            lease = talk(storage)
            sessions.put_memory(ANA, ONE, Memory(summary="x"), epoch=0)
            damaged = log.read_bytes()[:-40] + b"!" + log.read_bytes()[-39:]
            log.write_bytes(damaged)
            with pytest.raises(StorageUnavailable):
                sessions.append(lease, new_message(lease, MessageRole.USER, "hello", ts=T0))
            with pytest.raises(StorageUnavailable):
                sessions.reset(lease, ts=T0)
            assert log.read_bytes() == damaged
            sessions.delete(lease)
            left = {path.name for path in folder.rglob("*") if path.is_file()}
            assert left == (set() if os.name != "nt" else {f"{ONE}.lock"})

    async def test_missing_line_is_detected(self, root: Path, log: Path) -> None:
        async with JsonFileStorage(root) as storage:
            sessions_of(storage).release(talk(storage, count=5))
            lines = log.read_bytes().splitlines(keepends=True)
            for missing in (1, 2, 4):  # the last one is where a window begins
                log.write_bytes(b"".join(lines[:missing] + lines[missing + 1 :]))
                with pytest.raises(StorageUnavailable, match="missing"):
                    told(storage)
            with pytest.raises(StorageUnavailable, match="message 4: missing"):
                sessions_of(storage).read(ANA, ONE, MessageRange(limit=2))

    @pytest.mark.parametrize("content", [b"", b"\n", b"hello\n", b"[]\n", b"{}\n", b"\xff\xfe\n"])
    async def test_empty_and_foreign_files_are_refused_untouched(
        self, root: Path, log: Path, content: bytes
    ) -> None:
        async with JsonFileStorage(root) as storage:
            sessions = sessions_of(storage)
            lease = talk(storage)
            sessions.put_memory(ANA, ONE, Memory(), epoch=0)
            log.with_suffix(".json").write_bytes(content)
            with pytest.raises(StorageUnavailable):
                sessions.memory(ANA, ONE)
            log.write_bytes(content)
            with pytest.raises(StorageUnavailable):
                told(storage)
            with pytest.raises(StorageUnavailable):
                sessions.append(lease, new_message(lease, MessageRole.USER, "x", ts=T0))
            assert log.read_bytes() == content

    async def test_newer_version_is_refused_untouched_by_name(self, root: Path, log: Path) -> None:
        async with JsonFileStorage(root) as storage:
            lease = talk(storage)
            newer = log.read_bytes().replace(b'"version":1', b'"version":7')
            log.write_bytes(newer)
            with pytest.raises(StorageUnavailable, match=r"newer version \(7"):
                told(storage)
            with pytest.raises(StorageUnavailable, match="newer"):
                sessions_of(storage).append(lease, new_message(lease, MessageRole.USER, "x", ts=T0))
            assert log.read_bytes() == newer

    async def test_log_in_the_wrong_place_is_refused(
        self, root: Path, log: Path, folder: Path
    ) -> None:
        async with JsonFileStorage(root) as storage:
            talk(storage)
            sessions_of(storage).create(new_session(TWO, BOB))
            shutil.copy(log, folder / f"{TWO}.log")
            shutil.copy(log, root / "memory" / folder_name(BOB) / f"{ONE}.log")
            with pytest.raises(StorageUnavailable, match="another session"):
                told(storage, TWO)
            with pytest.raises(StorageUnavailable, match="another owner"):
                sessions_of(storage).get(BOB, ONE)


def changed_bytes(whole: bytes, change: str) -> Iterator[bytes]:
    """The bytes with one of them changed, for each of them."""
    how, operand = change[0], ord(change[1])
    for at, byte in enumerate(whole):
        new = byte ^ operand if how == "^" else operand
        if new != byte:
            yield whole[:at] + bytes([new]) + whole[at + 1 :]


class TestFaults:
    async def test_full_disk_leaves_the_session_as_it_was_and_recovers(
        self, root: Path, log: Path
    ) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            lease, sessions = talk(storage), sessions_of(storage)
            sessions.put_memory(ANA, ONE, Memory(summary="old"), epoch=0)
            users_of(storage).add(user(1))
            attempts_of(storage).count([GUESSED], at=T0)
            before, found = tree(root), sessions.get(ANA, ONE)
            files.failing = {"write"}
            for change in (
                lambda: sessions.append(
                    lease, new_message(lease, MessageRole.USER, "x" * 99, ts=later(99))
                ),
                lambda: sessions.put_memory(ANA, ONE, Memory(version=1), epoch=0),
                lambda: sessions.reset(lease, ts=later(99)),
                lambda: sessions.create(new_session(TWO)),
                lambda: users_of(storage).add(user(2)),
                lambda: attempts_of(storage).count([GUESSED], at=T0),
                lambda: attempts_of(storage).clear(GUESSED.key),
            ):
                with pytest.raises(StorageFull):
                    change()
            with pytest.raises(StorageFull):
                await storage.check()
            assert tree(root) == before
            files.failing = set()
            assert sessions.get(ANA, ONE) == found
            assert (
                sessions.append(lease, new_message(lease, MessageRole.USER, "x", ts=later(99))).seq
                == 4
            )
            users_of(storage).add(user(2))
            await storage.check()

    async def test_short_writes_are_continued(self, root: Path) -> None:
        files = Faulty()
        files.failing = {"short"}
        async with JsonFileStorage(root, files) as storage:
            talk(storage)
            assert len(told(storage)) == 3

    async def test_failed_write_is_not_undone_over_what_another_process_wrote(
        self, root: Path
    ) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage, JsonFileStorage(root) as other:
            lease = talk(storage)
            files.failing = {"fsync", "truncate"}
            with pytest.raises(StorageUnavailable):
                sessions_of(storage).append(
                    lease, new_message(lease, MessageRole.USER, "unsure", ts=T0)
                )
            files.failing = set()
            sessions_of(storage).release(lease)
            stored = add_message(other)
            add_message(storage)
            assert stored in told(storage)

    async def test_failed_replace_leaves_the_old_file(self, root: Path) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            lease, sessions = talk(storage), sessions_of(storage)
            users_of(storage).add(user(1))
            before = tree(root)
            files.failing = {"replace"}
            for change in (
                lambda: sessions.put_memory(ANA, ONE, Memory(), epoch=0),
                lambda: sessions.reset(lease, ts=T0),
                lambda: sessions.delete(lease),
                lambda: users_of(storage).set_password_hash(user(1).id, old="old", new="new"),
            ):
                with pytest.raises(StorageUnavailable):
                    change()
            assert tree(root) == before

    async def test_interrupted_deletion_is_invisible_and_finished_by_the_next_change(
        self, root: Path, folder: Path
    ) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            lease, sessions = talk(storage), sessions_of(storage)
            sessions.put_memory(ANA, ONE, Memory(summary="canary"), epoch=0)
            files.failing = {"remove"}
            with pytest.raises(StorageUnavailable):
                sessions.delete(lease)
            files.failing = set()
            with pytest.raises(NotFound):
                sessions.memory(ANA, ONE)
            assert list(sessions.page(ANA, limit=9)) == []
            assert not sessions.put_memory(ANA, ONE, Memory(version=1), epoch=0)
            assert {f.problem for f in await storage.findings()} == {Problem.LEFTOVER}
            sessions.create(new_session(TWO))
            assert [name for name in tree(folder) if ONE in name] == []

    async def test_interrupted_reset_has_emptied_the_memory_too(
        self, root: Path, log: Path
    ) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            lease, sessions = talk(storage), sessions_of(storage)
            sessions.put_memory(ANA, ONE, Memory(summary="old"), epoch=0)
            files.failing = {"remove"}
            with pytest.raises(StorageUnavailable):
                sessions.reset(lease, ts=T0)
            files.failing = set()
            assert sessions.memory(ANA, ONE) == Memory()
            assert sessions.put_memory(ANA, ONE, Memory(summary="new"), epoch=1)
            assert sessions.memory(ANA, ONE).summary == "new"

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
    def test_error_of_a_full_disk_is_translated(self) -> None:
        fd = os.open("/dev/full", os.O_WRONLY)
        with pytest.raises(StorageFull):
            Files().write(fd, b"x")
        Files().close(fd)
        with pytest.raises(StorageUnavailable):
            Files().write(fd, b"x")

    def test_waiting_for_a_lock_is_bounded(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        with (
            locked(Files(), path),
            pytest.raises(StorageUnavailable),
            locked(Files(), path, wait_s=0.01),
        ):
            pass
        with locked(Files(), path, wait_s=0.01):
            pass

    async def test_store_that_is_not_open_refuses(self, root: Path) -> None:
        storage = JsonFileStorage(root)
        with pytest.raises(StorageUnavailable):
            await storage.check()
        async with storage:
            await storage.check()
        with pytest.raises(StorageUnavailable):
            await storage.transact(lambda tx: tx.roles.all())

    async def test_removed_folder_is_unavailable(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            shutil.rmtree(root)
            with pytest.raises(StorageUnavailable):
                await storage.check()
            with pytest.raises(StorageUnavailable):
                await storage.transact(lambda tx: tx.sessions.create(new_session()))


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


class TestCost:
    async def test_cost_of_a_turn_does_not_grow_with_the_session(self, root: Path) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            lease, sessions = talk(storage, count=40), sessions_of(storage)
            costs = []
            for _ in range(2):
                files.read_bytes = 0
                added = sessions.append(lease, new_message(lease, MessageRole.USER, "x", ts=T0))
                sessions.read(ANA, ONE, MessageRange(limit=12))
                sessions.read(ANA, ONE, MessageRange(after=added.seq - 1, limit=1, oldest=True))
                sessions.memory(ANA, ONE)
                sessions.get(ANA, ONE)
                costs.append(files.read_bytes)
                log = root / "memory" / folder_name(ANA) / f"{ONE}.log"
                size = log.stat().st_size
                for n in range(300):
                    sessions.append(lease, new_message(lease, MessageRole.USER, f"{n}" * 50, ts=T0))
            assert size > 60_000
            assert costs[1] < 5 * 2 * 8192 + 1
            assert costs[1] < 3 * costs[0]

    async def test_page_opens_only_what_it_shows(self, root: Path) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            for n in range(30):
                sessions_of(storage).create(new_session(SessionId(f"{n:032x}")))
            files.opened = 0
            assert len(sessions_of(storage).page(ANA, limit=4)) == 4
            assert files.opened == 4


class TestLeases:
    @pytest.mark.parametrize("caller_leaves", [False, True])
    async def test_release_waits_for_the_write_that_has_begun(
        self, root: Path, caller_leaves: bool
    ) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage, JsonFileStorage(root) as other:
            lease = talk(storage)
            files.may_sync.clear()
            write = asyncio.ensure_future(
                storage.transact(
                    lambda tx: tx.sessions.append(
                        lease, new_message(lease, MessageRole.USER, "x", ts=T0)
                    )
                )
            )
            assert await asyncio.to_thread(files.is_syncing.wait, 10)
            if caller_leaves:
                write.cancel()
            release = asyncio.ensure_future(storage.transact(lambda tx: tx.sessions.release(lease)))
            for _ in range(20):
                with pytest.raises(SessionBusy):
                    await other.transact(lambda tx: tx.sessions.acquire(ANA, ONE, TURN))
            assert not release.done()
            files.may_sync.set()
            await release
            assert [message.seq for message in told(other)] == [1, 2, 3, 4]
            sessions_of(other).acquire(ANA, ONE, TURN)
            await asyncio.gather(write, return_exceptions=True)
            assert write.cancelled() is caller_leaves

    async def test_closing_frees_the_leases(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            talk(storage)
        async with JsonFileStorage(root) as storage:
            sessions_of(storage).acquire(ANA, ONE, TURN)

    async def test_two_stores_on_one_folder_exclude_each_other(self, root: Path) -> None:
        async with JsonFileStorage(root) as one, JsonFileStorage(root) as other:
            lease = talk(one)
            with pytest.raises(SessionBusy):
                sessions_of(other).acquire(ANA, ONE, TURN)
            with pytest.raises(SessionBusy):
                sessions_of(other).append(
                    lease, new_message(lease, MessageRole.USER, "not mine", ts=T0)
                )
            sessions_of(one).delete(lease)
            with pytest.raises(NotFound):
                sessions_of(other).acquire(ANA, ONE, TURN)

    async def test_queued_write_is_dropped_when_its_lease_is_released(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            lease = talk(storage)
            held = storage._sessions._leases._held[lease]
            held.writing = Overtaken(held, lambda: sessions_of(storage).release(lease))  # type: ignore[assignment] # a lock
            with pytest.raises(SessionBusy):
                sessions_of(storage).append(
                    lease, new_message(lease, MessageRole.USER, "too late", ts=T0)
                )
            assert len(told(storage)) == 3

    async def test_session_deleted_during_its_acquisition_is_not_found(
        self, root: Path, folder: Path
    ) -> None:
        files = Interrupted("open_lock")
        async with JsonFileStorage(root, files) as storage, JsonFileStorage(root) as other:
            sessions = sessions_of(storage)
            sessions_of(other).release(talk(other))
            files.meanwhile = partial(delete, other)
            with pytest.raises(NotFound):
                sessions.acquire(ANA, ONE, TURN)
        assert [path for path in folder.rglob("*") if path.is_file() and os.name != "nt"] == []

    @POSIX
    async def test_lock_on_a_session_deleted_and_restored_meanwhile_is_not_a_lease(
        self, root: Path
    ) -> None:
        """From a backup: of itself, no id is used twice."""
        files = Interrupted("try_lock")

        def delete_and_bring_back() -> None:
            delete(other)
            sessions_of(other).create(new_session())

        async with JsonFileStorage(root, files) as storage, JsonFileStorage(root) as other:
            sessions_of(other).release(talk(other))
            files.meanwhile = delete_and_bring_back
            with pytest.raises(SessionBusy):
                sessions_of(storage).acquire(ANA, ONE, TURN)
            assert add_message(storage).seq == 1

    @pytest.mark.parametrize("end", ["delete", "reset"])
    async def test_memory_being_stored_does_not_outlive_its_session(
        self, root: Path, end: str
    ) -> None:
        files, ending = Interrupted("replace"), {"delete": delete, "reset": reset}[end]
        async with JsonFileStorage(root, files) as storage, JsonFileStorage(root) as other:
            sessions_of(other).release(talk(other))
            with waiting_in_vain(partial(ending, other)) as files.meanwhile:
                memory = Memory(summary="canary")
                assert sessions_of(storage).put_memory(ANA, ONE, memory, epoch=0)
        assert [path for path in root.rglob("*") if b"canary" in content(path)] == []

    async def test_session_that_is_created_twice_at_once_is_created_once(self, root: Path) -> None:
        files, heard = Interrupted("replace"), list[str]()

        def create_again() -> None:
            with pytest.raises(Conflict):
                sessions_of(other).create(new_session())
            heard.append("conflict")

        async with JsonFileStorage(root, files) as storage, JsonFileStorage(root) as other:
            with waiting_in_vain(create_again) as files.meanwhile:
                sessions_of(storage).create(new_session())
        assert heard == ["conflict"]


def delete(storage: JsonFileStorage) -> None:
    sessions_of(storage).delete(sessions_of(storage).acquire(ANA, ONE, TURN))


def reset(storage: JsonFileStorage) -> None:
    sessions_of(storage).reset(sessions_of(storage).acquire(ANA, ONE, TURN), ts=T0)


def content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


@contextmanager
def waiting_in_vain(work: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """What begins the work in another thread, and gives it time that it has to wait out."""
    thread = threading.Thread(target=work)

    def begin() -> None:
        thread.start()
        thread.join(0.2)

    yield begin
    thread.join()


class Overtaken:
    """The lock of a lease, which somebody else takes first."""

    def __init__(self, held: HeldSession, other: Callable[[], None]) -> None:
        self._held, self._lock, self._other = held, held.writing, other

    def __enter__(self) -> None:
        self._held.writing = self._lock
        self._other()
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()


class Interrupted(Files):
    """A file system where something else happens right before a step."""

    def __init__(self, step: str) -> None:
        self._step = step
        self.meanwhile: Callable[[], object] = lambda: None

    def open_lock(self, path: Path) -> int:
        self._reach("open_lock")
        return super().open_lock(path)

    def try_lock(self, fd: int) -> bool:
        self._reach("try_lock")
        return super().try_lock(fd)

    def read_at(self, fd: int, length: int, offset: int) -> bytes:
        self._reach("read_at")
        return super().read_at(fd, length, offset)

    def replace(self, source: Path, target: Path) -> None:
        self._reach("replace")
        super().replace(source, target)

    def _reach(self, step: str) -> None:
        if step == self._step:
            meanwhile, self.meanwhile = self.meanwhile, lambda: None
            meanwhile()


def user(number: int, roles: tuple[str, ...] = ()) -> User:
    return User(
        id=UserId(f"{number:032x}"),
        email=f"u{number}@example.com",
        password_hash="old",
        roles=roles,
        department="",
        created_at=T0,
    )


class TestUserFiles:
    async def test_manual_edit_applies_from_the_next_call(self, root: Path) -> None:
        path = root / "auth" / "users.json"
        async with JsonFileStorage(root) as storage:
            users_of(storage).add(user(1))
            for active in (False, True, False):
                document = json.loads(path.read_text("utf-8"))
                document["users"][0]["is_active"] = active
                path.write_text(json.dumps(document), "utf-8")
                found = users_of(storage).by_id(user(1).id)
                assert found is not None
                assert found.is_active is active

    async def test_two_edits_within_one_tick_of_the_clock_are_both_seen(self, root: Path) -> None:
        path, files = root / "auth" / "users.json", Faulty()
        async with JsonFileStorage(root, files) as storage:
            users_of(storage).add(user(1))
            files.now = path.stat().st_mtime_ns
            assert users_of(storage).by_email("u1@example.com") is not None
            path.write_bytes(path.read_bytes().replace(b"u1@", b"u2@"))
            os.utime(path, ns=(files.now, files.now))
            assert users_of(storage).by_email("u2@example.com") is not None

    async def test_unchanged_file_is_parsed_once(self, root: Path) -> None:
        path, files = root / "auth" / "users.json", Faulty()
        async with JsonFileStorage(root, files) as storage:
            users_of(storage).add(user(1))
            files.now = path.stat().st_mtime_ns + 10**9
            for _ in range(3):
                assert users_of(storage).by_id(user(1).id) == user(1)
            files.opened = 0
            users_of(storage).by_id(user(1).id)
            assert files.opened == 0

    async def test_unknown_keys_and_old_ids_stay_in_the_file(self, root: Path) -> None:
        path = root / "auth" / "users.json"
        path.parent.mkdir(parents=True, mode=0o700)
        old = {"id": 7, "email": " Ana@Example.COM", "password_hash": "old", "nick": "Ani ñ"}
        path.write_text(json.dumps({"note": "by hand", "users": [old]}), "utf-8")
        async with JsonFileStorage(root) as storage:
            users = users_of(storage)
            found = users.by_email("ana@example.com")
            assert found == User(
                id=UserId("7"),
                email="ana@example.com",
                password_hash="old",
                roles=(),
                department="",
                created_at=datetime.fromtimestamp(0, UTC),
            )
            users.set_password_hash(found.id, old="old", new="new")
            users.add(user(1))
        document = json.loads(path.read_text("utf-8"))
        assert (document["note"], document["version"]) == ("by hand", 1)
        assert document["users"][0] == {**old, "password_hash": "new", "token_version": 1}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 or os.name == "nt"

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "{",
            "[]",
            "null",
            '{"version": 2, "users": []}',
            '{"version": "1", "users": []}',
            '{"users": {}}',
            '{"users": [7]}',
            '{"users": [{"email": "a@b.c", "password_hash": "x"}]}',
            '{"users": [{"id": "", "email": "a@b.c", "password_hash": "x"}]}',
            '{"users": [{"id": true, "email": "a@b.c", "password_hash": "x"}]}',
            '{"users": [{"id": "1", "email": "no address", "password_hash": "x"}]}',
            '{"users": [{"id": "1", "email": "a@b.c", "password_hash": "x", "roles": "admin"}]}',
            '{"users": [{"id": "1", "email": "a@b.c", "password_hash": ""}, {"id": "2", "email": "A@B.C", "password_hash": ""}]}',
            "[" * 100_000,
        ],
    )
    async def test_invalid_edit_is_refused_and_left_untouched(
        self, root: Path, content: str
    ) -> None:
        path = root / "auth" / "users.json"
        async with JsonFileStorage(root) as storage:
            path.write_text(content, "utf-8")
            with pytest.raises(StorageUnavailable, match=r"users\.json"):
                users_of(storage).by_email("a@b.c")
            with pytest.raises(StorageUnavailable):
                users_of(storage).add(user(1))
            assert path.read_text("utf-8") == content
            [finding] = [f for f in await storage.findings() if f.problem is not Problem.EXPOSED]
            assert finding.path == str(Path("auth", "users.json"))

    async def test_roles_are_made_once_and_unknown_permissions_grant_nothing(
        self, root: Path
    ) -> None:
        path = root / "auth" / "roles.json"
        async with JsonFileStorage(root) as storage:
            assert here_and_now(storage).roles.all() == DEFAULT_ROLES
            path.unlink()
            assert here_and_now(storage).roles.all() == {}
            await storage.make_initial_records()
            assert set(here_and_now(storage).roles.all()) == {"admin", "employee"}
            path.write_text('{"roles": {"guest": {"permissions": ["chat", "fly"]}}}', "utf-8")
            await storage.make_initial_records()
            roles = here_and_now(storage).roles.all()
            assert {name: set(role.permissions) for name, role in roles.items()} == {
                "guest": {"chat"}
            }
            path.write_text('{"version": 2, "roles": {}}', "utf-8")
            with pytest.raises(StorageUnavailable, match="newer"):
                here_and_now(storage).roles.all()


@POSIX
class TestRightsAndLinks:
    async def test_backup_files_are_readable_by_their_owner_only(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            talk(storage)
            sessions_of(storage).put_memory(ANA, ONE, Memory(), epoch=0)
            users_of(storage).add(user(1))
            attempts_of(storage).count([GUESSED], at=T0)
            for path in (root, *root.rglob("*")):
                expected = 0o700 if path.is_dir() else 0o600
                assert stat.S_IMODE(path.stat().st_mode) == expected, path
            assert await storage.findings() == []

    async def test_linked_files_are_refused(self, root: Path, log: Path, tmp_path: Path) -> None:
        async with JsonFileStorage(root) as storage:
            lease = talk(storage)
            elsewhere = tmp_path / "elsewhere"
            log.rename(elsewhere)
            log.symlink_to(elsewhere)
            before = elsewhere.read_bytes()
            with pytest.raises(StorageUnavailable):
                told(storage)
            with pytest.raises(StorageUnavailable):
                sessions_of(storage).append(lease, new_message(lease, MessageRole.USER, "x", ts=T0))
            assert elsewhere.read_bytes() == before
            assert list(sessions_of(storage).page(ANA, limit=9)) == []

    async def test_pipe_in_place_of_a_file_does_not_block(
        self, root: Path, log: Path, folder: Path
    ) -> None:
        async with JsonFileStorage(root) as storage:
            talk(storage)
            await asyncio.to_thread(log.unlink)
            for place in (log, folder / f"{TWO}.log"):
                await asyncio.to_thread(lambda: subprocess.run(["mkfifo", place], check=True))  # noqa: B023 # it is done by then
            with pytest.raises(StorageUnavailable):
                told(storage)
            assert len([f for f in await storage.findings() if ".log" in f.path]) == 2

    @pytest.mark.parametrize("name", [".", "auth", "counters", "memory", "memory/.locks"])
    async def test_linked_folders_are_refused(self, root: Path, tmp_path: Path, name: str) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        link = root if name == "." else root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(elsewhere, target_is_directory=True)
        with pytest.raises(StorageUnavailable):
            async with JsonFileStorage(root):
                pass
        assert list(elsewhere.iterdir()) == []

    async def test_linked_owner_folder_is_refused(
        self, root: Path, folder: Path, tmp_path: Path
    ) -> None:
        async with JsonFileStorage(root) as storage:
            talk(storage)
            folder.rename(tmp_path / "elsewhere")
            folder.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
            with pytest.raises(StorageUnavailable):
                told(storage)
            with pytest.raises(StorageUnavailable):
                sessions_of(storage).create(new_session(TWO))
            with pytest.raises(StorageUnavailable):
                sessions_of(storage).page(ANA, limit=9)

    async def test_file_in_place_of_the_folder_is_refused(self, root: Path) -> None:
        root.write_text("not a folder", "utf-8")
        with pytest.raises(StorageUnavailable):
            async with JsonFileStorage(root):
                pass
        assert root.read_text("utf-8") == "not a folder"


@pytest.mark.skipif(os.name != "nt", reason="elsewhere open files are replaced and removed")
class TestOpenFilesOnWindows:
    @pytest.fixture
    def read(self, tmp_path: Path) -> Iterator[tuple[Files, Path, int]]:
        """A file that somebody reads."""
        files, path = Files(), tmp_path / "read"
        path.write_bytes(b"old")
        fd = files.open_to_read(path)
        yield files, path, fd
        with suppress(StorageUnavailable):
            files.close(fd)

    def test_file_opened_briefly_by_a_reader_is_replaced_and_removed(
        self, read: tuple[Files, Path, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files, path, fd = read
        monkeypatch.setattr(time, "sleep", lambda _: files.close(fd))
        put(files, path, b"new")
        assert path.read_bytes() == b"new"

        fd = files.open_to_read(path)
        files.remove(path)
        assert not path.exists()

    def test_file_held_open_by_a_reader_stays_unchanged_and_leaves_no_temporary_file(
        self, read: tuple[Files, Path, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files, path, _ = read
        monkeypatch.setattr(time, "sleep", lambda _: None)
        with pytest.raises(StorageUnavailable):
            put(files, path, b"new")
        with pytest.raises(StorageUnavailable):
            files.remove(path)
        assert path.read_bytes() == b"old"
        assert list((path.parent / ".work").iterdir()) == []


class TestNames:
    @given(st.lists(st.text(min_size=1), min_size=2, max_size=2, unique=True))
    @example(["Con", "con"])
    @example(["ana", "ANA"])
    @example(["a.", "a "])
    @example(["aux.txt", "\u212a"])
    def test_every_owner_has_a_folder_of_its_own_on_windows_too(self, ids: list[str]) -> None:
        names = [folder_name(Owner(kind="user", id=one)) for one in ids]
        assert names[0].casefold() != names[1].casefold()
        for name in names:
            assert re.fullmatch(r"user-[a-z0-9%_-]+", name)  # no reserved name, letter or ending


class TestInspection:
    async def test_valid_store_has_no_findings_and_is_not_written_to(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            lease = talk(storage)
            sessions_of(storage).put_memory(ANA, ONE, Memory(summary="x"), epoch=0)
            sessions_of(storage).reset(lease, ts=T0)
            sessions_of(storage).append(lease, new_message(lease, MessageRole.USER, "x", ts=T0))
            users_of(storage).add(user(1))
            await storage.make_initial_records()
            before = tree(root)
            assert await storage.findings() == []
            assert tree(root) == before

    async def test_every_error_is_listed(self, root: Path, log: Path, folder: Path) -> None:
        async with JsonFileStorage(root) as storage:
            for number in range(1, 6):
                talk(storage, SessionId(f"{number:032x}"), count=30)
        logs = sorted(folder.glob("*.log"))
        logs[0].write_bytes(logs[0].read_bytes().replace(b"ts", b"tz", 1))
        logs[1].write_bytes(logs[1].read_bytes().replace(b'"version":1', b'"version":9'))
        logs[2].with_suffix(".json").write_bytes(b"")
        (folder / f"{'f' * 32}.json").write_bytes(b"{}")
        (folder / "notes.txt").write_bytes(b"x")
        (root / "memory" / "Strange").mkdir(mode=0o700)
        (root / "auth" / "roles.json").write_bytes(b"{")
        (root / "auth" / "roles.json").chmod(0o600)
        if os.name != "nt":
            (root / "auth").chmod(0o755)
        before = tree(root)
        async with JsonFileStorage(root) as storage:
            found = {(Path(f.path).name, f.problem) for f in await storage.findings()}
        exposed = {("auth", Problem.EXPOSED)} if os.name != "nt" else set()
        assert found == exposed | {
            (logs[0].name, Problem.DAMAGED),
            (logs[1].name, Problem.NEWER),
            (logs[2].with_suffix(".json").name, Problem.DAMAGED),
            (f"{'f' * 32}.json", Problem.LEFTOVER),
            ("notes.txt", Problem.FOREIGN),
            ("Strange", Problem.FOREIGN),
            ("roles.json", Problem.FOREIGN),
        }
        assert tree(root) == before

    async def test_legacy_sessions_are_not_a_finding(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            talk(storage)
            (root / "session_1.json").write_text("{}", "utf-8")
            (root / "memory" / "session_a-b.json").write_text("{}", "utf-8")
            assert await storage.findings() == []
