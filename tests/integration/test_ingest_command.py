"""`chatbot ingest`: documents that are kept equal to files."""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from chatbot.application.ingestion import Ingestion
from chatbot.domain.documents import Document, Status
from chatbot.domain.ports.backend import StorageOptions
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.settings.loading import load_settings
from chatbot.entrypoints.storage_backends import backend_of
from commands import Run

Found = TypeVar("Found")


@pytest.fixture
def files(ready: Run) -> Path:
    """A folder with two documents, beside an empty store."""
    folder = Path("files").absolute()
    (folder / "inner").mkdir(parents=True)
    (folder / "holidays.md").write_text("# Holidays\n23 days.", encoding="utf-8")
    (folder / "inner" / "travel.txt").write_text("Trains first.", encoding="utf-8")
    return folder


@pytest.fixture(params=["json:data", "sqlite:///data/chatbot.db"])
def store(request: pytest.FixtureRequest, ready: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_URL", request.param)
    assert ready("init")[0] == 0


def stored() -> dict[str, Document]:
    """The documents by the names of their files."""

    def work(tx: Transaction) -> dict[str, Document]:
        return {Path(each.source).name: each for each in tx.documents.all()}

    return in_store(work)


def in_store(work: Callable[[Transaction], Found]) -> Found:
    async def done() -> Found:
        url = load_settings().storage.url
        async with backend_of(url).storage(url, StorageOptions()) as storage:
            return await storage.transact(work)

    return asyncio.run(done())


@pytest.mark.usefixtures("store")
def test_files_become_documents_and_only_changes_are_read_again(files: Path, run: Run) -> None:
    asked = ("--department", "HR", "--role", "lead", "--label", "Rules", "--label", "es")
    assert run("ingest", "files", *asked)[:2] == (0, "added: 2\n")
    first = stored()
    assert {each.status for each in first.values()} == {Status.READY}
    assert first["holidays.md"].title == "Holidays"
    assert first["travel.txt"].access.departments == ("HR",)
    assert first["travel.txt"].access.roles == ("lead",)
    assert first["travel.txt"].labels == ("es", "rules")

    assert run("ingest", str(files)) == (0, "unchanged: 2\n", "")
    assert stored() == first

    (files / "holidays.md").write_text("# Holidays\n25 days.", encoding="utf-8")
    (files / "new.md").write_text("New.", encoding="utf-8")
    assert run("ingest", "files")[1] == "added: 1, updated: 1, unchanged: 1\n"
    second = stored()
    assert second["holidays.md"].id == first["holidays.md"].id
    assert second["holidays.md"].newest.number == 2
    assert second["holidays.md"].access == first["holidays.md"].access
    assert second["new.md"].access.departments == ()


def test_another_rule_or_label_changes_the_documents_of_unchanged_files(
    files: Path, run: Run
) -> None:
    run("ingest", "files")
    assert run("ingest", "files", "--public")[1] == "access or labels changed: 2\n"
    assert run("ingest", "files", "--public", "--label", "x")[1] == "access or labels changed: 2\n"
    assert {(each.access.public, each.labels) for each in stored().values()} == {(True, ("x",))}
    (files / "holidays.md").write_text("# Holidays\n25 days.", encoding="utf-8")
    run("ingest", "files", "--role", "lead")
    assert {each.access.public for each in stored().values()} == {False}


def test_a_rule_without_readers_is_reported(files: Path, run: Run) -> None:
    assert "No active user" in run("ingest", "files", "--department", "Nowhere")[2]


def test_gone_files_are_listed_and_their_documents_deleted_only_on_request(
    files: Path, run: Run
) -> None:
    run("ingest", "files", "--public")
    (files / "holidays.md").unlink()
    gone = f"gone: {files / 'holidays.md'}\n"
    hint = "gone: 1 (--prune deletes their documents)"
    assert run("ingest", "files")[1] == f"{gone}unchanged: 1, {hint}\n"
    dry = run("ingest", "files", "--prune", "--dry-run")[1]
    assert dry == f"{gone}dry run, nothing was written: unchanged: 1, deleted: 1\n"
    assert set(stored()) == {"holidays.md", "travel.txt"}
    assert run("ingest", "files/inner", "--prune")[1] == "unchanged: 1\n"
    assert run("ingest", "files", "--prune")[1] == f"{gone}unchanged: 1, deleted: 1\n"
    assert set(stored()) == {"travel.txt"}


def test_a_folder_that_is_empty_or_missing_deletes_nothing(files: Path, run: Run) -> None:
    run("ingest", "files", "--public")
    shutil.rmtree(files)
    code, out, err = run("ingest", "files", "--prune")
    assert (code, out) == (1, "failed: 1\n")
    assert err.splitlines()[1].split(None, 1) == [str(files), "No such file or directory"]
    files.mkdir()
    assert run("ingest", "files", "--prune")[:2] == (0, "no files found\n")
    assert set(stored()) == {"holidays.md", "travel.txt"}


def test_a_dry_run_writes_nothing(files: Path, run: Run) -> None:
    assert run("ingest", "files", "--dry-run") == (
        0,
        "dry run, nothing was written: added: 2\n",
        "",
    )
    assert stored() == {}
    run("ingest", "files", "--public")
    (files / "holidays.md").write_text("changed", encoding="utf-8")
    before = stored()
    shown = run("ingest", "files", "--role", "lead", "--dry-run")[1]
    assert shown == "dry run, nothing was written: updated: 1, access or labels changed: 1\n"
    assert stored() == before


def test_files_that_fail_are_in_a_table_and_read_again_the_next_time(
    files: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "broken.pdf").write_bytes(b"%PDF-1.7 broken")
    (files / "empty.txt").write_bytes(b"")
    (files / "photo.png").write_bytes(b"\x89PNG")
    (files / "large.txt").write_bytes(b"x" * (1 + 1024 * 1024))
    monkeypatch.setenv("DOCUMENT_MAX_MIB", "1")
    code, out, err = run("ingest", "files")
    assert (code, out) == (1, "added: 2, skipped (type not supported): 1, failed: 3\n")
    assert [line.split(None, 1) for line in err.splitlines()] == [
        ["file", "reason"],
        [str(files / "broken.pdf"), "The file is damaged or incomplete."],
        [str(files / "empty.txt"), "The file is empty."],
        [str(files / "large.txt"), "The file is too large."],
    ]
    assert run("ingest", "files")[2] == err
    assert stored()["broken.pdf"].newest.number == 2
    (files / "empty.txt").write_text("not any more", encoding="utf-8")
    (files / "broken.pdf").unlink()
    monkeypatch.setenv("DOCUMENT_MAX_MIB", "25")
    assert run("ingest", "files", "--prune")[:2][1].endswith(
        "added: 1, updated: 1, unchanged: 2, skipped (type not supported): 1, deleted: 1\n"
    )


def test_the_same_bytes_under_the_same_rule_are_one_document(files: Path, run: Run) -> None:
    (files / "copy.md").write_bytes((files / "holidays.md").read_bytes())
    assert run("ingest", "files", "--public")[1] == "added: 2, duplicates: 1\n"
    assert run("ingest", "files", "--public")[:2] == (0, "unchanged: 2, duplicates: 1\n")


def test_hidden_files_and_links_are_left_out(files: Path, run: Run) -> None:
    (files / ".git").mkdir()
    for name in (".git/config.txt", ".hidden.md"):
        (files / name).write_text("secret", encoding="utf-8")
    (files / "link.txt").symlink_to("/etc/hostname")
    (files / "folder").symlink_to(files / ".git")
    assert run("ingest", "files")[1] == "added: 2\n"


@pytest.mark.skipif(sys.platform == "win32", reason="names are bytes, and there are pipes")
@pytest.mark.usefixtures("store")
def test_a_name_that_is_not_utf_8_is_reported_and_the_others_are_ingested(
    files: Path, run: Run
) -> None:
    try:
        (files / os.fsdecode(b"bad\xff.md")).write_text("Bad.", encoding="utf-8")
    except OSError:
        pytest.skip("the file system takes names in UTF-8 only")
    (files / "red\x1b[31m\n.md").write_text("Red.", encoding="utf-8")
    code, out, err = run("ingest", "files")
    assert (code, out) == (1, "added: 3, failed: 1\n")
    assert "bad\\udcff.md  The name of the file is not valid UTF-8." in err
    assert "\x1b" not in out + err
    (files / "red\x1b[31m\n.md").unlink()
    assert "red\\x1b[31m" in run("ingest", "files")[1]


@pytest.mark.skipif(sys.platform == "win32", reason="there are pipes")
def test_pipes_and_devices_are_left_out(files: Path, run: Run) -> None:
    if sys.platform != "win32":
        os.mkfifo(files / "pipe.md")
    assert run("ingest", "files")[1] == "added: 2\n"
    code, out, err = run("ingest", str(files / "pipe.md"), "/dev/zero")
    assert (code, out) == (1, "failed: 2\n")
    assert "neither a file nor a folder" in err


@pytest.mark.usefixtures("store")
def test_an_interrupted_run_is_resumed(
    files: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(_: Ingestion) -> bool:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(Ingestion, "work_once", interrupted)
        with pytest.raises(asyncio.CancelledError):
            run("ingest", "files", "--public")
    assert {each.status for each in stored().values()} == {Status.QUEUED}
    assert run("ingest", "files", "--public")[0] == 0
    assert {each.status for each in stored().values()} == {Status.READY}
    assert set(stored()) == {"holidays.md", "travel.txt"}


def test_a_file_that_is_named_itself_may_be_gone(files: Path, run: Run) -> None:
    run("ingest", "files/holidays.md")
    (files / "holidays.md").unlink()
    code, out, err = run("ingest", "files/holidays.md", "--prune")
    assert (code, out, err) == (0, f"gone: {files / 'holidays.md'}\ndeleted: 1\n", "")
    assert stored() == {}
