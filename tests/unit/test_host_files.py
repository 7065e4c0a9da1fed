"""Reading files that others may replace."""

import hashlib
import os
import sys
from pathlib import Path

import pytest

from chatbot.application.host_files import HostFile
from chatbot.domain.ports.extraction import ExtractionFailed

TEXT = b"Receipts are due."
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="pipes, and links for everyone")


@pytest.fixture
def file(tmp_path: Path) -> HostFile:
    """A file two folders below its root."""
    path = tmp_path / "root" / "inner" / "a.md"
    path.parent.mkdir(parents=True)
    path.write_bytes(TEXT)
    return HostFile(path=path, root=tmp_path / "root")


def secret(tmp_path: Path) -> Path:
    folder = tmp_path / "private"
    folder.mkdir()
    (folder / "a.md").write_bytes(b"secret")
    return folder


def test_digest_is_that_of_the_bytes_and_of_the_copy(file: HostFile, tmp_path: Path) -> None:
    expected = hashlib.sha256(TEXT).hexdigest()
    assert file.digest(max_bytes=len(TEXT)) == expected
    assert file.copy(tmp_path / "copy", max_bytes=len(TEXT)) == expected
    assert (tmp_path / "copy").read_bytes() == TEXT


def test_no_more_is_read_than_allowed_of_a_file_that_has_grown(
    file: HostFile, tmp_path: Path
) -> None:
    with pytest.raises(ExtractionFailed):
        file.digest(max_bytes=len(TEXT) - 1)
    with pytest.raises(ExtractionFailed):
        file.copy(tmp_path / "copy", max_bytes=len(TEXT) - 1)
    assert (tmp_path / "copy").read_bytes() == b""


@needs_posix
def test_file_that_was_replaced_by_a_link_is_not_read(file: HostFile, tmp_path: Path) -> None:
    file.path.unlink()
    file.path.symlink_to(secret(tmp_path) / "a.md")
    with pytest.raises(OSError, match="symbolic link"):
        file.digest(max_bytes=99)


@needs_posix
def test_folder_that_was_replaced_by_a_link_is_not_entered(file: HostFile, tmp_path: Path) -> None:
    file.path.unlink()
    file.path.parent.rmdir()
    file.path.parent.symlink_to(secret(tmp_path))
    with pytest.raises(OSError, match=r"symbolic link|Not a directory"):
        file.copy(tmp_path / "copy", max_bytes=99)
    assert not (tmp_path / "copy").exists()


@needs_posix
def test_file_that_was_replaced_by_a_pipe_does_not_block(file: HostFile) -> None:
    file.path.unlink()
    if sys.platform != "win32":
        os.mkfifo(file.path)
    with pytest.raises(OSError, match="not a regular file"):
        file.digest(max_bytes=99)


@needs_posix
def test_path_that_the_command_names_may_be_a_link(file: HostFile, tmp_path: Path) -> None:
    link = tmp_path / "link.md"
    link.symlink_to(file.path)
    named = HostFile(path=link, root=link)
    assert named.digest(max_bytes=99) == file.digest(max_bytes=99)
    (tmp_path / "folder").symlink_to(file.root)
    below = HostFile(path=tmp_path / "folder" / "inner" / "a.md", root=tmp_path / "folder")
    assert below.digest(max_bytes=99) == file.digest(max_bytes=99)


@needs_posix
def test_name_that_is_not_utf_8_cannot_be_stored(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"bad\xff.md")
    assert not HostFile(path=odd, root=tmp_path).has_storable_name
    assert HostFile(path=tmp_path / "a\u00f1o.md", root=tmp_path).has_storable_name
