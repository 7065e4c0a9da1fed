"""The command line, run in this process."""

import io
import sys
from collections.abc import Callable

import pytest

from chatbot.entrypoints.cli import main

Run = Callable[..., tuple[int, str, str]]
"""Takes the arguments, and `text` for standard input; returns exit code, output, error output."""


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str, text: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8"))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return command
