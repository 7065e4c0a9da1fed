"""A shell that runs the commands of a page as written."""

import asyncio
import json
import os
import re
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from process import STARTS_WITHIN_S
from service import ADMIN_EMAIL, PASSWORD

ROOT = Path(__file__).resolve().parents[2]
TYPED = {
    "--role employee": '--role employee --password-stdin <<< "$PASSWORD"',  # no terminal here
    "the password that make run printed": PASSWORD,
    "la contraseña que imprimió make run": PASSWORD,
    "admin@example.com": ADMIN_EMAIL,
}


def blocks(page: str, kind: str) -> list[str]:
    """The code blocks in this language on the page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


class Terminal:
    """A shell that runs one block after the other."""

    def __init__(self, shell: Process, url: str) -> None:
        self.url = url
        self._shell = shell

    async def run(self, block: str) -> str:
        """The output of the block; a failing command ends the shell and the test."""
        for old, new in {**TYPED, "http://127.0.0.1:8000": self.url}.items():
            block = block.replace(old, new)
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{block}\nprintf '\\0'\n".encode())
        async with asyncio.timeout(STARTS_WITHIN_S):
            return (await self._shell.stdout.readuntil(b"\0"))[:-1].decode()


@asynccontextmanager
async def terminal(folder: Path) -> AsyncGenerator[Terminal]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONUTF8": "1"}
    shell = await create_subprocess_exec(
        "bash", "-euo", "pipefail", cwd=folder, env=environment, stdin=PIPE, stdout=PIPE
    )
    try:
        yield Terminal(shell, "")
    finally:
        if shell.returncode is None:
            shell.kill()
        await shell.communicate()


def documents(printed: str) -> list[Any]:
    """Consecutive JSON documents, as curl prints them."""
    found = []
    while printed := printed.lstrip():
        document, end = json.JSONDecoder().raw_decode(printed)
        found.append(document)
        printed = printed[end:]
    return found
