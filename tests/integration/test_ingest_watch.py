"""`chatbot ingest --watch`."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from commands import Run

CHATBOT = str(Path(sys.executable).with_name("chatbot"))


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_watch_takes_up_changes_and_survives_that_the_folder_goes_until_it_is_interrupted(
    ready: Run,
) -> None:
    folder = Path("files").absolute()
    folder.mkdir()
    (folder / "a.md").write_text("One.", encoding="utf-8")
    command = [CHATBOT, "ingest", str(folder), "--watch", "--prune", "--public"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "added: 1\n"
            (folder / "b.md").write_text("Two.", encoding="utf-8")
            assert process.stdout.readline() == "added: 1\n"
            (folder / "a.md").write_text("Three.", encoding="utf-8")
            assert process.stdout.readline() == "updated: 1\n"
            (folder / "b.md").unlink()
            assert process.stdout.readline() == f"gone: {folder / 'b.md'}\n"
            assert process.stdout.readline() == "deleted: 1\n"
            folder.rename("moved")
            assert process.stdout.readline() == "failed: 1\n"
            Path("moved").rename(folder)
            (folder / "c.md").write_text("Four.", encoding="utf-8")
            assert process.stdout.readline() == "added: 1, unchanged: 1\n", "nothing was deleted"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()
