"""Writes that were interrupted at any byte lose no whole message."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

from functools import partial
from pathlib import Path

import pytest

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import (
    MessageRole,
)
from chatbot.domain.errors import (
    StorageUnavailable,
)
from chatbot.domain.memory import Memory
from json_store import ANA, ONE, T0, TURN, Interrupted, add_message, messages_of, sessions_of, talk
from samples import new_message


class TestTornWrites:
    async def test_session_cut_at_any_byte_keeps_its_whole_messages(
        self, root: Path, log: Path
    ) -> None:
        async with JsonFileStorage(root) as storage:
            sessions_of(storage).release(talk(storage))
            messages, whole = messages_of(storage), log.read_bytes()
            ends = [at for at, byte in enumerate(whole, 1) if byte == ord("\n")]
            for length in range(ends[0], len(whole)):
                log.write_bytes(whole[:length])
                # A message that lacks its newline only is whole: it may count.
                count = sum(end - 1 <= length for end in ends[1:])
                assert messages_of(storage) == messages[:count]
                assert add_message(storage).seq == count + 1
                assert [m.seq for m in messages_of(storage)] == list(range(1, count + 2))
                assert messages_of(storage)[:-1] == messages[:count]

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
            assert [m.seq for m in messages_of(storage)] == [1, 2, 3, 4]

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
                    messages_of(storage)
                with pytest.raises(StorageUnavailable):
                    sessions.append(lease, new_message(lease, MessageRole.USER, "x", ts=T0))
                assert log.read_bytes() == header[:length]

    @pytest.mark.parametrize("tail", [b"\0", b"\0" * 700, b'{"seq":4,"ro' + b"\0" * 5000])
    async def test_nul_bytes_after_a_power_loss_are_torn(
        self, root: Path, log: Path, tail: bytes
    ) -> None:
        async with JsonFileStorage(root) as storage:
            sessions_of(storage).release(talk(storage))
            messages = messages_of(storage)
            with log.open("ab") as file:
                file.write(tail)
            assert messages_of(storage) == messages
            assert add_message(storage).seq == 4
            assert len(messages_of(storage)) == 4

    async def test_lost_sectors_inside_the_last_message_are_torn(
        self, root: Path, log: Path
    ) -> None:
        async with JsonFileStorage(root) as storage:
            lease = talk(storage)
            messages, before = messages_of(storage), log.stat().st_size
            sessions_of(storage).append(
                lease, new_message(lease, MessageRole.USER, "x" * 5000, ts=T0)
            )
            sessions_of(storage).release(lease)
            whole = bytearray(log.read_bytes())
            whole[1024:4096] = b"\0" * 3072
            assert before < 1024
            log.write_bytes(whole)
            assert messages_of(storage) == messages
            assert add_message(storage).seq == 4
