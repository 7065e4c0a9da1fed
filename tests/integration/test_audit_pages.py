"""The commands of docs/security.md and docs/operations.md about the audit work as written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from audit_store import AuditStore
from commands import Run
from programs import program

DOCS = Path(__file__).parents[2] / "docs"
LOG = "journalctl"
"""Stands for the log of the service, which the test makes."""


def commands_of(page: str, section: str) -> list[str]:
    """The commands of a section for a shell, without the call of the API, which needs a service."""
    text = (DOCS / page).read_text("utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if not line.startswith("curl ")]


@pytest.fixture
def shell(ready: Run, tmp_path: Path) -> dict[str, str]:
    """The environment of an administrator's shell: `chatbot`, and a log with a head."""
    AuditStore().note(3)
    head = ready("audit", "head")[1].strip()
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    line = json.dumps({"event": f"audit head {head}"})
    main = "from chatbot.entrypoints.commands.cli import main; main()"
    for name, script in (
        ("chatbot", f"exec '{sys.executable}' -c '{main}' \"$@\""),
        (LOG, f"echo '{line}'"),
    ):
        (bin_folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin_folder / name).chmod(0o700)
    return {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("page", ["security.md", "operations.md"])
def test_page_says_where_the_command_is(page: str) -> None:
    introduction = (DOCS / page).read_text("utf-8").split("\n## ")[0]
    assert (
        "`chatbot` is `.venv/bin/chatbot`; run the commands in the folder of `.env`."
        in introduction
    )


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("page", "section"), [("security.md", "Audit"), ("operations.md", "Who did what")]
)
def test_commands_of_the_page_succeed_in_their_order(
    shell: dict[str, str], page: str, section: str
) -> None:
    program("jq")
    commands = commands_of(page, section)
    assert len(commands) >= 4
    for command in commands:
        ended = subprocess.run(
            [program("bash"), "-o", "pipefail", "-c", command],
            env=shell,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, ""), command
        if command.startswith(LOG):
            assert re.fullmatch(r"audit head [0-9]+:[0-9a-f]{64}\n", ended.stdout)
