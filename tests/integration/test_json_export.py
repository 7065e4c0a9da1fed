"""Reading a conversation from JSON files during concurrent writes."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.export import JsonFileExport
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import Message, MessageRange
from chatbot.domain.ports.export import Change, Conversation
from chatbot.domain.transaction import Transaction
from samples import ANA, conversation, everything_in, fill, remembered, trace_of

BEFORE = conversation(texts=["Hi", "Hello!"], memory=remembered("one", version=1))
LONGER = conversation(texts=["Hi", "Hello!", "More"], memory=remembered("two", version=2))
RESET = conversation(texts=[], reset_at=2, epoch=1)


class Interrupted(Files):
    """Runs an action before the n-th opening of a file."""

    def __init__(self, number: int, happen: Callable[[], None]) -> None:
        self._left, self._happen = number, happen

    def open_to_read(self, path: Path) -> int:
        self._left -= 1
        if self._left == 0:
            self._happen()
        return super().open_to_read(path)


@pytest.mark.parametrize("after", [LONGER, RESET], ids=["longer", "reset"])
def test_copied_conversation_is_a_consistent_snapshot(tmp_path: Path, after: Conversation) -> None:
    met = set()
    for number in range(1, 60):
        root = tmp_path / str(number)
        fill(JsonFileExport(root), [BEFORE])

        def change(root: Path = root) -> None:
            JsonFileExport(root).put([Change(after, BEFORE)])

        [found] = everything_in(JsonFileExport(root, Interrupted(number, change)))
        assert found in (BEFORE, after)
        met.add(found == after)
    assert met == {True, False}


def test_reset_messages_are_gone_from_the_target_too(tmp_path: Path) -> None:
    export = JsonFileExport(tmp_path)
    fill(export, [conversation(texts=["canary"], memory=remembered("canary"))])
    export.put([Change(RESET, export.find(RESET))])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"canary" in path.read_bytes() for path in files)


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    fill(JsonFileExport(tmp_path / "data"))
    before = trace_of(tmp_path)
    export = JsonFileExport(tmp_path / "data")
    assert [export.find(item) for item in everything_in(export)] == everything_in(export)
    assert trace_of(tmp_path) == before


def test_missing_folder_reads_as_empty_and_is_not_created(tmp_path: Path) -> None:
    export = JsonFileExport(tmp_path / "none")
    assert everything_in(export) == []
    assert export.session_keys() == set()
    assert list(tmp_path.iterdir()) == []


def _newest_before(before: int, found: Conversation, tx: Transaction) -> Sequence[Message]:
    return tx.sessions.read(ANA, found.session.id, MessageRange(limit=1, before=before))


async def test_long_line_is_skipped_and_read_back(tmp_path: Path) -> None:
    """Joining 16 MB block by block took 5 seconds; joining once takes hundredths of a second."""
    root = tmp_path / "data"
    long = conversation(texts=["Hi", "x" * 16_000_000, "Again", "ñ" * 20_000])
    JsonFileExport(root).put([Change(long, None)])
    began = time.monotonic()
    async with JsonFileStorage(root) as storage:
        for before, text in ((2, "Hi"), (4, "Again"), (5, "ñ" * 20_000)):
            newest = partial(_newest_before, before, long)
            [message] = await storage.transact(newest)
            assert message.content == text
    assert time.monotonic() - began < 2
    assert JsonFileExport(root).find(long) == long
