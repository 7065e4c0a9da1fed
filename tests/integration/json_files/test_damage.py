"""Damaged files are detected, reported and left unchanged, and affect no other session."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatbot.adapters.storage.json_files.paths import folder_name
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import (
    MessageRange,
    MessageRole,
)
from chatbot.domain.errors import (
    StorageUnavailable,
)
from chatbot.domain.memory import Memory
from json_store import ANA, BOB, ONE, T0, TWO, messages_of, new_session, sessions_of, talk
from samples import new_message


def changed_bytes(whole: bytes, change: str) -> Iterator[bytes]:
    """Every variant of the bytes with one byte changed."""
    how, operand = change[0], ord(change[1])
    for at, byte in enumerate(whole):
        new = byte ^ operand if how == "^" else operand
        if new != byte:
            yield whole[:at] + bytes([new]) + whole[at + 1 :]


class TestDamage:
    @pytest.mark.parametrize("change", ["^\x01", "^\x80", "^\xff", "=\n", "=\0", '="'])
    async def test_every_changed_byte_of_a_log_is_detected_or_harmless(
        self, root: Path, log: Path, change: str
    ) -> None:
        async with JsonFileStorage(root) as storage:
            sessions_of(storage).release(talk(storage))
            sessions, whole, mtime = sessions_of(storage), log.read_bytes(), log.stat().st_mtime_ns
            expected = (messages_of(storage), sessions.get(ANA, ONE))
            detected, variants = 0, list(changed_bytes(whole, change))
            for damaged in variants:
                log.write_bytes(damaged)
                os.utime(log, ns=(mtime, mtime))
                try:
                    assert (messages_of(storage), sessions.get(ANA, ONE)) == expected
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
                messages_of(storage, ONE)
            [record] = caplog.records
            assert (record.name, record.levelname) == ("chatbot.storage", "ERROR")
            assert str(log) in record.message
            with pytest.raises(StorageUnavailable):
                sessions.get(ANA, ONE)
            assert len(messages_of(storage, TWO)) == 3
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
                    messages_of(storage)
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
                messages_of(storage)
            with pytest.raises(StorageUnavailable):
                sessions.append(lease, new_message(lease, MessageRole.USER, "x", ts=T0))
            assert log.read_bytes() == content

    async def test_newer_version_is_refused_untouched_by_name(self, root: Path, log: Path) -> None:
        async with JsonFileStorage(root) as storage:
            lease = talk(storage)
            newer = log.read_bytes().replace(b'"version":1', b'"version":7')
            log.write_bytes(newer)
            with pytest.raises(StorageUnavailable, match=r"newer version \(7"):
                messages_of(storage)
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
                messages_of(storage, TWO)
            with pytest.raises(StorageUnavailable, match="another owner"):
                sessions_of(storage).get(BOB, ONE)
