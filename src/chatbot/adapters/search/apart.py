"""Runs long computations in a process of their own at low priority.

A thread would keep the other threads of the service waiting, as only one of them runs at a time.
"""

import asyncio
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, TypeVarTuple

from chatbot.domain.errors import ChatbotError

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")

_PROGRAM = (
    "import os, sys; sys.path.extend(sys.argv[1].split(os.pathsep)); "
    "from chatbot.adapters.search.apart import answer; answer()"
)
_BELOW_NORMAL_PRIORITY = 0x4000
_KEPT_VARIABLES = ("SYSTEMROOT",)
"""Windows cannot start Python without it."""


class ProcessFailed(ChatbotError):
    """The process ended without an answer."""


async def run_apart(work: "Callable[[*_Arguments], _Result]", *arguments: *_Arguments) -> _Result:
    """Run a function of a module; a cancelled call ends its process.

    Raises:
        ProcessFailed: the process was killed.
    """
    process = _started()
    working = asyncio.ensure_future(asyncio.to_thread(_asked, process, (work, *arguments)))
    try:
        found: _Result = await asyncio.shield(working)
    except asyncio.CancelledError:
        process.kill()
        with suppress(ProcessFailed):
            await working
        raise
    return found


def _started() -> "subprocess.Popen[bytes]":
    options = ["-I", "-S", "-B", "-X", "utf8", "-c", _PROGRAM, os.pathsep.join(sys.path)]
    flags = _BELOW_NORMAL_PRIORITY if sys.platform == "win32" else 0
    return subprocess.Popen(  # noqa: S603 # no shell, and a command of ours
        [sys.executable, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        start_new_session=True,
        creationflags=flags,
    )


def _asked(process: "subprocess.Popen[bytes]", call: tuple[object, ...]) -> Any:  # noqa: ANN401 # what the work returns
    with process:
        # One after the other: other threads wait while one is pickled.
        raw, _ = process.communicate(b"".join(pickle.dumps(each) for each in call))
    if process.returncode:
        raise ProcessFailed("A process of the search index has failed.")
    return pickle.loads(raw)  # noqa: S301 # of a process of ours, which read no file


def answer() -> None:
    """Run what is read from the standard input, in the process of its own."""
    if sys.platform != "win32":
        os.nice(10)
    work, arguments = pickle.load(sys.stdin.buffer), []  # noqa: S301 # of the service
    with suppress(EOFError):
        while True:
            arguments.append(pickle.load(sys.stdin.buffer))  # noqa: S301 # as above
    sys.stdout.buffer.write(pickle.dumps(work(*arguments)))
