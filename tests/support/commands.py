"""The command line, run in this process."""

import io
import sys
from collections.abc import Callable

import pytest

from chatbot.entrypoints.commands.cli import main

Run = Callable[..., tuple[int, str, str]]
"""Takes the arguments, and `text` or `raw` for standard input; `raw` is read by a system whose own
encoding is not UTF-8. Returns exit code, output, error output."""


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str, text: str = "", raw: bytes | None = None) -> tuple[int, str, str]:
        given, encoding = (text.encode(), "utf-8") if raw is None else (raw, "cp1252")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return command
