"""A command that is interrupted while it imports what it needs."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

START = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv[1:] = ["--help"]
"""
PROGRAM = "from chatbot.entrypoints.program import main; main()"
MODULE = "import runpy; runpy.run_module('chatbot', run_name='__main__')"


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("run", [PROGRAM, MODULE])
def test_interrupted_start_ends_with_130_and_prints_nothing(run: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", START + run], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_installed_command_is_the_program_that_ends_quietly() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["scripts"] == {"chatbot": "chatbot.entrypoints.program:main"}
