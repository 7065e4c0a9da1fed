"""Files that a reader holds open on Windows."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chatbot.adapters.filesystem.atomic import put
from chatbot.adapters.filesystem.files import Files
from chatbot.domain.errors import (
    StorageUnavailable,
)


@pytest.mark.skipif(os.name != "nt", reason="elsewhere open files are replaced and removed")
class TestOpenFilesOnWindows:
    @pytest.fixture
    def read(self, tmp_path: Path) -> Iterator[tuple[Files, Path, int]]:
        """A file that is open for reading."""
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
