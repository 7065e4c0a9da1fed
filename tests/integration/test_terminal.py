"""`chatbot chat` on a terminal: it greets, explains how to leave, and exits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from process import ENVIRONMENT, STARTS_WITHIN_S

pty = pytest.importorskip("pty", reason="Windows has none", exc_type=ImportError)


COMMAND = "from chatbot.entrypoints.commands.cli import main; main()"


def typed(folder: Path, keys: str, **environment: str) -> str:
    """What `chatbot chat` prints while these keys are typed; it must exit with code 0."""
    terminal, its_end = pty.openpty()
    try:
        os.write(terminal, keys.encode())
        ran = subprocess.run(
            (sys.executable, "-c", COMMAND, "chat"),
            cwd=folder,
            env=ENVIRONMENT | environment,
            stdin=its_end,
            capture_output=True,
            encoding="utf-8",
            timeout=STARTS_WITHIN_S,
            check=False,
        )
    finally:
        os.close(terminal)
        os.close(its_end)
    assert ran.returncode == 0, ran.stderr
    assert "audit head" not in ran.stderr  # it belongs in the log of the service
    return ran.stdout


@pytest.mark.parametrize(
    ("environment", "greeting"),
    [
        (
            {"LANG": "en_GB.UTF-8"},
            "Assistant. Type and press Enter; to leave, press Ctrl-D or type `exit`.",
        ),
        (
            {"LANG": "C"},
            "Asistente. Escribe y pulsa Intro; para salir, pulsa Ctrl-D o escribe `salir`.",
        ),
        (
            {"LANG": "en", "DEFAULT_LANGUAGE": "es", "ASSISTANT_NAME": "Clara"},
            "Clara. Escribe y pulsa Intro; para salir, pulsa Ctrl-D o escribe `salir`.",
        ),
    ],
)
def test_conversation_greets_and_says_how_to_leave(
    tmp_path: Path, environment: dict[str, str], greeting: str
) -> None:
    printed = typed(tmp_path, "\x04", **environment)

    assert printed.splitlines()[0] == greeting
    assert printed.endswith("> \n")


@pytest.mark.parametrize("word", ["exit", " Quit ", "salir"])
def test_exit_word_ends_the_conversation(tmp_path: Path, word: str) -> None:
    printed = typed(tmp_path, f"Hello, my name is Ana.\n{word}\nHow are you?\n", LANG="en")

    assert printed.count("> ") == 2
    assert "Ana" in printed
