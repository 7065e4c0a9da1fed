"""Commands import only what they use: slow libraries would delay each of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = "{'genkit', 'openai', 'sqlalchemy', 'alembic', 'psycopg', 'fastapi', 'uvicorn'}"
PROGRAM = f"""
import atexit, sys
atexit.register(lambda: print("loaded:", *sorted({SLOW} & set(sys.modules))))
from chatbot.entrypoints.commands.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("arguments", "storage", "loaded"),
    [
        (("--version",), "json:data", []),
        (("init",), "json:data", []),
        (("user", "list"), "json:data", []),
        (("user", "list"), "memory:", []),
        (("user", "list"), "sqlite:///chat.db", ["sqlalchemy"]),
        (("db", "upgrade"), "sqlite:///chat.db", ["alembic", "sqlalchemy"]),
    ],
)
def test_command_imports_only_the_slow_libraries_that_it_uses(
    tmp_path: Path, arguments: tuple[str, ...], storage: str, loaded: list[str]
) -> None:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("OPENAI")},
        "API_KEY": "5kq0Vxg7S2m9ZtLr4Yb8Wn1Pc6Hd3Fj0",
        "JWT_SECRET": "Qw9Er7Ty5Ui3Op1As8Df6Gh4Jk2Lz0Xc",
        "STORAGE_URL": storage,
    }
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.splitlines()[-1].split()[1:] == loaded, run.stderr
