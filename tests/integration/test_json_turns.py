"""The two writes of a turn on JSON files: on the event loop, with fsync by the kernel or a thread."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import asyncio
import errno
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import pytest

from chatbot.adapters.filesystem import kernel_aio
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.filesystem.kernel_aio import KernelAio
from chatbot.adapters.storage.json_files.paths import LOCKS, folder_name
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import (
    Lease,
    Message,
    MessageRange,
    MessageRole,
    Question,
    Session,
    SessionId,
    TurnId,
)
from chatbot.domain.errors import (
    NotFound,
    SessionBusy,
    StorageFailure,
    StorageFull,
    StorageUnavailable,
)
from chatbot.domain.permissions import DEFAULT_ROLES
from chatbot.domain.transaction import Transaction
from conversation import PATIENCE_S
from samples import ANA, T0, new_message, user

ONE, TURN = SessionId("1" * 32), TurnId("a" * 32)
LEASE = Lease(owner=ANA, session_id=ONE, turn_id=TURN)
QUESTION = Question(
    owner=ANA,
    session_id=ONE,
    turn_id=TURN,
    text="asked",
    ts=T0,
    summarized_step=1,
    history_limit=9,
)


class Slow(Files):
    """Blocks fsync, fails the next one with `failure`, and records opened files."""

    def __init__(self, *, in_kernel: bool) -> None:
        self.in_kernel = in_kernel
        self.failure: int = 0
        self.is_syncing, self.may_sync = threading.Event(), threading.Event()
        self.may_sync.set()
        self.opened: list[str] = []

    def kernel_fsync(self, fd: int) -> "asyncio.Future[None] | None":
        if not self.in_kernel:
            return None

        async def sync() -> None:
            await asyncio.to_thread(self._wait)
            if code := self._failure():
                raise OSError(code, os.strerror(code))
            syncing = super(Slow, self).kernel_fsync(fd)
            await syncing if syncing is not None else self.fsync(fd)

        return asyncio.ensure_future(sync())

    def _failure(self) -> int:
        """Make only the next fsync fail."""
        code, self.failure = self.failure, 0
        return code

    def _wait(self) -> None:
        self.is_syncing.set()
        self.may_sync.wait(PATIENCE_S)

    def fsync(self, fd: int) -> None:
        if not self.in_kernel:
            self._wait()
        if code := self._failure():
            raise StorageFull("sync") if code == errno.ENOSPC else StorageUnavailable("sync")
        super().fsync(fd)

    def open_to_append(self, path: Path) -> int:
        self.opened.append(path.name)
        return super().open_to_append(path)

    def open_to_read(self, path: Path) -> int:
        self.opened.append(path.name)
        return super().open_to_read(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def log(root: Path) -> Path:
    return root / "memory" / folder_name(ANA) / f"{ONE}.log"


@pytest.fixture(params=[True, False], ids=["in kernel", "in thread"])
def files(request: pytest.FixtureRequest) -> Slow:
    return Slow(in_kernel=request.param)


@pytest.fixture
async def storage(root: Path, files: Slow) -> AsyncIterator[JsonFileStorage]:
    async with JsonFileStorage(root, files) as storage:
        session = Session(id=ONE, owner=ANA, title="", created_at=T0, updated_at=T0)
        await storage.transact(lambda tx: tx.sessions.create(session))
        files.is_syncing.clear()
        yield storage


async def ask(storage: JsonFileStorage) -> None:
    await storage.store_question(QUESTION)


async def answer(storage: JsonFileStorage) -> None:
    await storage.store_answer(
        LEASE, new_message(LEASE, MessageRole.ASSISTANT, "answered", ts=T0, reason=None)
    )


async def texts(storage: JsonFileStorage) -> list[str]:
    def work(tx: Transaction) -> list[Message]:
        return [*tx.sessions.read(ANA, ONE, MessageRange(limit=99))]

    return [message.content for message in await storage.transact(work)]


async def is_held(storage: JsonFileStorage) -> bool:
    def work(tx: Transaction) -> None:
        tx.sessions.release(tx.sessions.acquire(ANA, ONE, TurnId("b" * 32)))

    try:
        await storage.transact(work)
    except SessionBusy:
        return True
    return False


async def until_free(storage: JsonFileStorage) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await is_held(storage):
            pass


async def test_answer_is_acknowledged_and_the_session_released_only_after_fsync(
    storage: JsonFileStorage, files: Slow
) -> None:
    await ask(storage)
    files.is_syncing.clear()
    files.may_sync.clear()
    answering = asyncio.create_task(answer(storage))
    await asyncio.to_thread(files.is_syncing.wait, PATIENCE_S)
    assert await is_held(storage)
    assert not answering.done()
    files.may_sync.set()
    await answering
    assert not await is_held(storage)


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.EIO, StorageUnavailable), (errno.ENOSPC, StorageFull)]
)
async def test_write_whose_fsync_fails_is_truncated_and_the_session_is_released(
    storage: JsonFileStorage, files: Slow, log: Path, code: int, kind: type[StorageFailure]
) -> None:
    before = log.read_bytes()
    files.failure = code
    with pytest.raises(kind):
        await ask(storage)
    assert log.read_bytes() == before
    await ask(storage)
    asked = log.read_bytes()
    files.failure = code
    with pytest.raises(kind):
        await answer(storage)
    assert log.read_bytes() == asked
    assert not await is_held(storage)
    await ask(storage)
    assert await texts(storage) == ["asked", "", "asked"]
    assert await storage.findings() == []


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("step", [ask, answer])
async def test_write_of_a_cancelled_caller_is_complete_or_absent_and_releases_the_session(
    storage: JsonFileStorage,
    files: Slow,
    step: Callable[[JsonFileStorage], Coroutine[None, None, None]],
    caplog: pytest.LogCaptureFixture,
    *,
    fails: bool,
) -> None:
    if step is answer:
        await ask(storage)
    before = await texts(storage)
    files.is_syncing.clear()
    files.may_sync.clear()
    writing = asyncio.create_task(step(storage))
    await asyncio.to_thread(files.is_syncing.wait, PATIENCE_S)
    writing.cancel()
    await asyncio.wait({writing})
    assert writing.cancelled()
    assert await is_held(storage)
    files.failure = errno.EIO if fails else 0
    files.may_sync.set()
    await until_free(storage)
    assert ("after its caller was cancelled" in caplog.text) == fails
    written = [] if fails else ["asked" if step is ask else "answered"]
    assert await texts(storage) == before + written
    assert await storage.findings() == []


async def test_closing_waits_for_a_write_whose_caller_was_cancelled(
    root: Path, files: Slow, storage: JsonFileStorage
) -> None:
    await ask(storage)
    files.is_syncing.clear()
    files.may_sync.clear()
    answering = asyncio.create_task(answer(storage))
    await asyncio.to_thread(files.is_syncing.wait, PATIENCE_S)
    answering.cancel()
    await asyncio.wait({answering})
    closing = asyncio.create_task(storage.__aexit__())
    await asyncio.sleep(0.02)
    assert not closing.done()
    files.may_sync.set()
    await closing
    async with JsonFileStorage(root) as again:
        assert await texts(again) == ["asked", "answered"]


async def test_closing_waits_for_a_write_that_has_begun(
    root: Path, files: Slow, storage: JsonFileStorage
) -> None:
    await ask(storage)
    files.is_syncing.clear()
    files.may_sync.clear()
    answering = asyncio.create_task(answer(storage))
    await asyncio.to_thread(files.is_syncing.wait, PATIENCE_S)
    closing = asyncio.create_task(storage.__aexit__())
    await asyncio.sleep(0.02)
    assert not closing.done()
    files.may_sync.set()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(answering, closing)
    async with JsonFileStorage(root) as again:
        assert await texts(again) == ["asked", "answered"]


@pytest.mark.parametrize("fails", [False, True])
async def test_release_waits_for_the_sync(
    storage: JsonFileStorage, files: Slow, root: Path, *, fails: bool
) -> None:
    """Otherwise another process could write after an answer that is then truncated."""
    await ask(storage)
    files.is_syncing.clear()
    files.may_sync.clear()
    answering = asyncio.create_task(answer(storage))
    await asyncio.to_thread(files.is_syncing.wait, PATIENCE_S)
    files.failure = errno.EIO if fails else 0
    releasing = asyncio.ensure_future(storage.transact(lambda tx: tx.sessions.release(LEASE)))
    async with JsonFileStorage(root) as other:
        for _ in range(20):
            assert await is_held(other)
        assert not releasing.done()
        files.may_sync.set()
        async with asyncio.timeout(PATIENCE_S):
            await releasing
            await asyncio.gather(answering, return_exceptions=True)
        assert not await is_held(other)
        assert await texts(other) == ["asked"] + (["answered"] if not fails else [])


class Overtaken(Files):
    """Runs an action right before a lock file is opened."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], object] = lambda: None

    def open_lock(self, path: Path) -> int:
        if path.name == f"{ONE}.lock":
            meanwhile, self.meanwhile = self.meanwhile, lambda: None
            meanwhile()
        return super().open_lock(path)


@pytest.mark.skipif(os.name == "nt", reason="an open log is not deleted there")
@pytest.mark.parametrize("is_finished", [True, False])
async def test_session_deleted_while_a_question_acquires_it_is_not_found(
    root: Path, log: Path, *, is_finished: bool
) -> None:
    """The opened log is renamed or deleted by then; no lock file is recreated."""
    files = Overtaken()
    async with JsonFileStorage(root, files) as storage:
        session = Session(id=ONE, owner=ANA, title="", created_at=T0, updated_at=T0)
        await storage.transact(lambda tx: tx.sessions.create(session))
        await ask(storage)
        await answer(storage)
        (log.parent / ".work").mkdir(exist_ok=True)
        marked = log.parent / ".work" / f"{ONE}.deleted"

        def delete() -> None:
            log.replace(marked)
            (log.parent / LOCKS / f"{ONE}.lock").unlink()
            if is_finished:
                marked.unlink()

        files.meanwhile = delete
        with pytest.raises(NotFound):
            await ask(storage)
        left = [path.name for path in log.parent.rglob("*") if path.is_file()]
        assert left == ([] if is_finished else [marked.name])


async def test_usual_turn_opens_the_log_once(storage: JsonFileStorage, files: Slow) -> None:
    for _ in range(2):
        files.opened.clear()
        await ask(storage)
        await answer(storage)
        assert files.opened.count(f"{ONE}.log") == 1


async def test_log_replaced_during_a_turn_accepts_the_answer(
    storage: JsonFileStorage, log: Path, tmp_path: Path
) -> None:
    """Some editors and copying tools replace files."""
    await ask(storage)
    copy = tmp_path / "copy"
    copy.write_bytes(log.read_bytes())
    copy.chmod(0o600)
    copy.replace(log)
    await answer(storage)
    assert await texts(storage) == ["asked", "answered"]


@pytest.mark.skipif(os.name == "nt", reason="an open log is not moved there")
async def test_log_moved_during_a_turn_accepts_no_answer(
    storage: JsonFileStorage, log: Path, tmp_path: Path
) -> None:
    await ask(storage)
    moved = log.rename(tmp_path / "moved")
    before = moved.read_bytes()
    with pytest.raises(NotFound):
        await answer(storage)
    assert moved.read_bytes() == before


async def test_question_removed_during_a_turn_is_detected(
    storage: JsonFileStorage, log: Path
) -> None:
    await ask(storage)
    log.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(StorageUnavailable, match="removed after it was written"):
        await answer(storage)
    assert not await is_held(storage)


async def test_torn_write_is_quarantined_before_the_question(
    storage: JsonFileStorage, log: Path
) -> None:
    with log.open("ab") as file:
        file.write(b'{"seq":1,"ro')
    await ask(storage)
    await answer(storage)
    assert await texts(storage) == ["asked", "answered"]
    assert [path.name[:38] for path in (log.parent / ".work").iterdir()] == [f"{ONE}.torn-"]


async def test_damaged_log_accepts_no_question_and_is_logged_once(
    storage: JsonFileStorage, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log.write_bytes(log.read_bytes().replace(b'"epoch":0', b'"epoch":1'))
    with pytest.raises(StorageUnavailable):
        await ask(storage)
    assert not await is_held(storage)
    assert caplog.text.count(str(log)) == 1


async def test_closed_store_takes_no_turn(root: Path) -> None:
    storage = JsonFileStorage(root)
    for step in (ask, answer, lambda store: store.find_caller(user(1).id)):
        with pytest.raises(StorageUnavailable, match="not open"):
            await step(storage)


async def test_caller_is_looked_up_without_a_thread_while_the_file_is_unchanged(
    storage: JsonFileStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.make_initial_records()
    await storage.transact(lambda tx: tx.users.add(user(1)))
    for name in ("users.json", "roles.json"):
        os.utime(root / "auth" / name, ns=(10**18, 10**18))  # not just written
    await storage.find_caller(user(1).id)
    with monkeypatch.context() as without:
        without.setattr(storage, "_in_thread", None)
        assert (await storage.find_caller(user(1).id))[0] == user(1)
    roles = (root / "auth" / "roles.json").read_text("utf-8")
    (root / "auth" / "roles.json").write_text(roles.replace("employee", "clerk"), "utf-8")
    found = await storage.find_caller(user(1).id)
    assert set(found.roles) == {*DEFAULT_ROLES, "clerk"} - {"employee"}


# --- the kernel ------------------------------------------------------------------------------

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux has these calls")


@linux
async def test_kernel_syncs_many_files_at_once(tmp_path: Path) -> None:
    kernel = KernelAio()
    fds = [os.open(tmp_path / f"{n}", os.O_RDWR | os.O_CREAT) for n in range(20)]
    for fd in fds:
        os.write(fd, b"x")
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(kernel.fsync(fd) for fd in fds * 5))
    kernel.close()
    for fd in fds:
        os.close(fd)


@linux
async def test_syncs_that_end_at_the_same_moment_are_all_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Including more than one batch."""
    kernel = KernelAio()
    monkeypatch.setattr(kernel_aio, "_AT_ONCE", 3)
    with (tmp_path / "file").open("wb", buffering=0) as file:
        file.write(b"x")
        syncs = [kernel.fsync(file.fileno()) for _ in range(20)]
        time.sleep(0.2)  # noqa: ASYNC251 - the loop is busy until they have ended
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*syncs)
    kernel.close()


@linux
async def test_kernel_error_is_raised() -> None:
    kernel = KernelAio()
    with pytest.raises(OSError, match="Bad file descriptor"):
        await kernel.fsync(10**6)
    reading, writing = os.pipe()
    with pytest.raises(OSError, match="Invalid argument"):
        await kernel.fsync(writing)
    for fd in (reading, writing):
        os.close(fd)
    kernel.close()


@linux
async def test_fsync_falls_back_to_a_thread_when_the_kernel_queue_is_full(
    storage: JsonFileStorage, files: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not files.in_kernel:
        pytest.skip("it is asked for nothing")
    asked: list[int] = []

    def refuse(_: KernelAio, fd: int) -> None:
        asked.append(fd)
        raise BlockingIOError(errno.EAGAIN, "full")

    monkeypatch.setattr(KernelAio, "fsync", refuse)
    await ask(storage)
    await answer(storage)
    assert len(asked) == 2
    assert await texts(storage) == ["asked", "answered"]


@linux
@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("KernelAio._call", errno.ENOSYS),
        ("KernelAio._call", errno.EPERM),
        ("KernelAio._call", errno.EAGAIN),
        ("_new_eventfd", errno.EMFILE),
    ],
)
async def test_fsync_falls_back_to_threads_when_the_kernel_rejects_aio(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """As in some sandboxes, or when other processes have exhausted `fs.aio-max-nr`."""
    before = set(Path("/proc/self/fd").iterdir())

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(f"{kernel_aio.__name__}.{call}", refuse)
    async with JsonFileStorage(root) as storage:
        session = Session(id=ONE, owner=ANA, title="", created_at=T0, updated_at=T0)
        await storage.transact(lambda tx: tx.sessions.create(session))
        await ask(storage)
        await answer(storage)
        assert await texts(storage) == ["asked", "answered"]
    assert set(Path("/proc/self/fd").iterdir()) == before
