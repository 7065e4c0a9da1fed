"""The commands of docs/documents.md and docs/memory.md work as written, after those of the README."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from process import running
from service import ADMIN_EMAIL, PASSWORD
from shell import blocks, documents, terminal

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "sed"))), reason="needs bash, curl and sed"
)


async def test_commands_of_the_pages_do_what_they_say(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (tmp_path / "policies").mkdir()
    (tmp_path / "hr").mkdir()
    (tmp_path / "policies" / "travel.md").write_text("Book trains.", encoding="utf-8")
    upload, ingest = blocks("docs/documents.md", "sh")
    [remember] = blocks("docs/memory.md", "sh")
    first, _, _, log_in, _, _, make_file, *_ = blocks("README.md", "sh")[2:]
    async with terminal(tmp_path) as shell:
        await shell.run(
            'export PATH="$PWD/.venv/bin:$PATH"; chatbot init; chatbot admin create '
            f"--email {ADMIN_EMAIL} --password-stdin <<< '{PASSWORD}'"
        )
        [key] = re.findall(r"^API_KEY=(.+)$", (tmp_path / ".env").read_text("utf-8"), re.MULTILINE)
        async with running(tmp_path, API_KEY=key) as service:
            shell.url = str(service.client.base_url).rstrip("/")
            for block in (first, log_in, make_file):
                await shell.run(block)

            uploaded, listed = documents(await shell.run(upload))
            assert uploaded["document"]["labels"] == ["policies", "travel"]
            assert {each["status"] for each in listed["documents"]} <= {
                "queued",
                "processing",
                "ready",
            }

            stored, found, forgotten = documents(await shell.run(remember))
            assert [each["id"] for each in found["results"] if each["type"] == "item"] == [
                stored["id"]
            ]
            assert forgotten == {"forgotten": True}

            *twice, watch = ingest.replace("/srv/", "").splitlines()
            assert watch.endswith("--watch"), "it runs until Ctrl-C"
            assert await shell.run("\n".join(twice)) == "added: 1\nno files found\n"
