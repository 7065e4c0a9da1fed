"""`index.db` follows the logs: after crashes, damage, other processes and undone writes."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from chatbot.adapters.search.records import record_of
from chatbot.adapters.storage.json_files import log_index
from chatbot.adapters.storage.json_files.index_file import IndexFile
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import MessageRole, SessionId
from chatbot.domain.errors import StorageFull, StorageUnavailable
from chatbot.domain.search import Passage, Scope, messages_scope
from index_contents import assert_index_is_true, indexed_of
from json_store import ANA, BOB, ONE, T0, TURN, TWO, new_session, sessions_of
from samples import new_message

SCOPE = messages_scope(ANA)
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights or links")
OPEN_FILES = pytest.mark.skipif(os.name == "nt", reason="Windows moves and removes no open files")


def say(storage: JsonFileStorage, *texts: str, session_id: SessionId = ONE) -> None:
    sessions = sessions_of(storage)
    if session_id not in {each.id for each in sessions.page(ANA, limit=99)}:
        sessions.create(new_session(session_id))
    lease = sessions.acquire(ANA, session_id, TURN)
    for text in texts:
        sessions.append(lease, new_message(lease, MessageRole.USER, text, ts=T0))
    sessions.release(lease)


async def test_a_turn_writes_nothing_to_the_index(root: Path) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one", "two")
        assert not (root / "index.db").exists()
        assert len(await assert_index_is_true(storage, ANA)) == 2


async def test_the_index_is_up_to_date_after_a_restart_and_without_one(root: Path) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one")
        assert len(await assert_index_is_true(storage, ANA)) == 1
        say(storage, "two")
        say(storage, "three", session_id=TWO)
        assert len(await assert_index_is_true(storage, ANA)) == 3
        say(storage, "four")
    async with JsonFileStorage(root) as storage:
        assert len(await assert_index_is_true(storage, ANA)) == 4


async def test_two_processes_index_what_the_other_has_written(root: Path) -> None:
    async with JsonFileStorage(root) as here, JsonFileStorage(root) as there:
        say(here, "one")
        assert len(await assert_index_is_true(there, ANA)) == 1
        say(there, "two")
        say(here, "three")
        assert len(await assert_index_is_true(here, ANA)) == 3
        assert len(await assert_index_is_true(there, ANA)) == 3


async def test_a_session_deleted_by_hand_leaves_the_index(root: Path, log: Path) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one")
        say(storage, "two", session_id=TWO)
        assert len(await assert_index_is_true(storage, ANA)) == 2
        log.unlink()
        assert {each.parent for each in await assert_index_is_true(storage, ANA)} == {TWO}


async def test_a_session_restored_under_its_name_is_reindexed(root: Path, log: Path) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one", "two")
        await assert_index_is_true(storage, ANA)
        saved = log.read_bytes()
        say(storage, "three")
        await assert_index_is_true(storage, ANA)
        log.write_bytes(saved)
        assert len(await assert_index_is_true(storage, ANA)) == 2
        say(storage, "another three")
        assert len(await assert_index_is_true(storage, ANA)) == 3


async def test_a_message_that_replaces_an_undone_one_replaces_it_in_the_index(
    root: Path, log: Path
) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one")
        before, size = log.stat(), log.stat().st_size
        say(storage, "was not acknowledged")
        assert len(await assert_index_is_true(storage, ANA)) == 2
        os.truncate(log, size)
        os.utime(log, ns=(before.st_atime_ns, before.st_mtime_ns))
        say(storage, "is another one at all")
        found = await assert_index_is_true(storage, ANA)
        assert [each.seq for each in found] == [1, 2]


@OPEN_FILES
async def test_a_deletion_that_was_interrupted_is_completed_in_the_index(
    root: Path, folder: Path, log: Path
) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one")
        say(storage, "two", session_id=TWO)
        await indexed_of(storage, ANA)
        sessions = sessions_of(storage)
        lease = sessions.acquire(ANA, ONE, TURN)
        log.rename(folder / ".work" / f"{ONE}.deleted")  # as far as the process came
        sessions.release(lease)
        sessions.create(new_session(SessionId("c" * 32)))
        read = sqlite3.connect(root / "index.db")
        rows = read.execute("SELECT parent FROM index_tail").fetchall()
        read.close()
        assert rows == [(TWO,)]


@pytest.mark.parametrize("is_reset", [False, True])
async def test_what_is_removed_while_it_is_being_indexed_is_not_indexed(
    root: Path, monkeypatch: pytest.MonkeyPatch, is_reset: bool
) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one", session_id=TWO)
        await indexed_of(storage, ANA)
        say(storage, "removed meanwhile")
        removed: list[bytes] = []

        def remove_it(passage: Passage) -> bytes:
            record = record_of(passage)
            if not removed:
                removed.append(record)
                sessions = sessions_of(storage)
                lease = sessions.acquire(ANA, ONE, TURN)
                if is_reset:
                    sessions.reset(lease, ts=T0)
                    sessions.release(lease)
                else:
                    sessions.delete(lease)
            return record

        monkeypatch.setattr(log_index, "record_of", remove_it)
        assert {each.parent for each in await indexed_of(storage, ANA)} == {TWO}
        assert removed


async def test_a_damaged_log_does_not_keep_the_others_from_being_indexed(
    root: Path, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one", "two", "three")
        say(storage, "four", session_id=TWO)
        raw = log.read_bytes()
        log.write_bytes(raw.replace(b'"two"', b'"tvo"'))
        assert {each.parent for each in await indexed_of(storage, ANA)} == {TWO}
        reported = len(caplog.records)
        say(storage, "five", session_id=TWO)
        assert len(await indexed_of(storage, ANA)) == 2
        assert len(caplog.records) == reported, "it is not read again until it is changed"
        log.write_bytes(raw)
        assert len(await assert_index_is_true(storage, ANA)) == 5


@pytest.mark.parametrize("content", [b"", b"no database" * 500, b"SQLite format 3\0" + bytes(5000)])
async def test_a_damaged_index_is_rebuilt(root: Path, content: bytes) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one")
        await indexed_of(storage, ANA)
    (root / "index.db").write_bytes(content)
    async with JsonFileStorage(root) as storage:
        assert len(await assert_index_is_true(storage, ANA)) == 1
    async with JsonFileStorage(root) as storage:
        assert len(await assert_index_is_true(storage, ANA)) == 1
    assert len([*root.glob("index*.db")]) == 1


@OPEN_FILES
async def test_an_index_that_is_damaged_in_use_is_rebuilt_for_all_processes(root: Path) -> None:
    async with JsonFileStorage(root) as here, JsonFileStorage(root) as there:
        for storage in (here, there):
            say(storage, *(f"text {number}" for number in range(300)))
            await indexed_of(storage, ANA)
        with sqlite3.connect(root / "index.db") as raw:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raw.close()
        size = (root / "index.db").stat().st_size
        with (root / "index.db").open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(size - 4096))
        say(here, "one more")
        assert len(await indexed_of(here, ANA)) == 500, "at most so many in one search"
        assert len(await assert_index_is_true(here, ANA)) == 601
        assert len(await assert_index_is_true(there, ANA)) == 601
        say(there, "and another")
        assert len(await assert_index_is_true(here, ANA)) == 602
    assert [path.name for path in root.glob("index*.db")] == ["index.1.db"]


async def test_an_index_of_another_version_is_rebuilt(root: Path) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one")
        await indexed_of(storage, ANA)
    with sqlite3.connect(root / "index.db") as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    async with JsonFileStorage(root) as storage:
        assert len(await assert_index_is_true(storage, ANA)) == 1


@OPEN_FILES
async def test_an_index_that_was_removed_while_in_use_is_rebuilt(root: Path) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one")
        await indexed_of(storage, ANA)
        for path in root.glob("index.db*"):
            path.unlink()
        assert len(await assert_index_is_true(storage, ANA)) == 1


async def test_a_search_indexes_some_messages_at_once_the_newest_sessions_first(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_index, "_AT_ONCE", 3)
    monkeypatch.setattr(log_index.LogIndex.catch_up, "__kwdefaults__", {"limit": 3})
    async with JsonFileStorage(root) as storage:
        say(storage, "one", "two")
        say(storage, "three", "four", session_id=TWO)
        os.utime(next(root.rglob(f"{ONE}.log")), ns=(1, 1))
        found = await indexed_of(storage, ANA)
        assert [(each.parent, each.seq) for each in found] == [(ONE, 1), (TWO, 1), (TWO, 2)]
        assert len(await indexed_of(storage, ANA)) == 4

        say(storage, *(f"more {number}" for number in range(10)))
        indexed = await storage.transact(lambda tx: tx.index.indexed(SCOPE))
        assert indexed == {ONE: 12, TWO: 2}
        await assert_index_is_true(storage, ANA)


async def test_people_without_messages_find_nothing(root: Path) -> None:
    async with JsonFileStorage(root) as storage:
        sessions_of(storage).create(new_session())
        sessions_of(storage).clear(BOB)
        assert await indexed_of(storage, BOB) == []
        assert not (root / "index.db").exists()
        assert await indexed_of(storage, ANA) == []


async def test_documents_are_kept_apart_from_messages(root: Path) -> None:
    manuals = Scope("manuals")
    async with JsonFileStorage(root) as storage:
        say(storage, "one")
        await storage.transact(
            lambda tx: tx.index.put(manuals, "d", [Passage(seq=1, text="a manual")])
        )
        await storage.transact(lambda tx: tx.index.set_audience(manuals, ["public"]))
    async with JsonFileStorage(root) as storage:
        assert await storage.transact(lambda tx: tx.index.indexed(manuals)) == {"d": 1}
        assert await storage.transact(lambda tx: tx.index.scopes_for(["public"])) == [manuals]
        assert len(await assert_index_is_true(storage, ANA)) == 1
        await storage.transact(lambda tx: tx.index.clear(manuals))
        assert await storage.transact(lambda tx: tx.index.scopes_for(["public"])) == []


async def test_a_full_disk_does_not_keep_a_session_from_being_deleted(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one")
        await indexed_of(storage, ANA)

        def full(*_: object, **__: object) -> None:
            raise StorageUnavailable("no space")

        sessions = sessions_of(storage)
        lease = sessions.acquire(ANA, ONE, TURN)
        with monkeypatch.context() as patched:
            patched.setattr(IndexFile, "write", full)
            sessions.delete(lease)
        assert "stay in the search index" in caplog.text
        assert await assert_index_is_true(storage, ANA) == []


async def test_a_full_disk_does_not_keep_older_messages_from_being_found(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one")
        await indexed_of(storage, ANA)
        say(storage, "two")

        def full(*_: object, **__: object) -> None:
            raise StorageFull("no space")

        with monkeypatch.context() as patched:
            patched.setattr(IndexFile, "write", full)
            assert [each.seq for each in await indexed_of(storage, ANA)] == [1]
        assert "newest messages cannot be found" in caplog.text
        assert len(await assert_index_is_true(storage, ANA)) == 2


@POSIX
async def test_index_files_are_private_and_not_links(root: Path, tmp_path: Path) -> None:
    async with JsonFileStorage(root) as storage:
        say(storage, "one")
        await indexed_of(storage, ANA)
        names = {path.name for path in root.glob("index*")}
        assert names >= {"index.db", "index.db-wal", "index.lock"}
        for path in root.glob("index*"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await storage.findings() == []
        (root / "index.db").chmod(0o644)
        assert [found.path for found in await storage.findings()] == ["index.db"]
    for path in root.glob("index.db*"):
        path.unlink()
    elsewhere = tmp_path / "elsewhere.db"
    elsewhere.touch()
    (root / "index.db").symlink_to(elsewhere)
    async with JsonFileStorage(root) as storage:
        with pytest.raises(StorageUnavailable):
            await indexed_of(storage, ANA)
    assert elsewhere.read_bytes() == b""
