"""Analyses the passages of a parent; if there are many, in a separate process at low priority.

A thread would keep the threads of the service waiting: a document of 500 pages takes a second.
"""

import asyncio
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress

from chatbot.adapters.search.stored_index import SEGMENT_AT_ONCE, PreparedPassages, prepared
from chatbot.domain.errors import ChatbotError
from chatbot.domain.search import Passage

_PROGRAM = (
    "import os, sys; sys.path.extend(sys.argv[1].split(os.pathsep)); "
    "from chatbot.adapters.search.preparing import answer; answer()"
)
_BELOW_NORMAL_PRIORITY = 0x4000
_PACKED_AT_ONCE = 256
_KEPT_VARIABLES = ("SYSTEMROOT",)
"""Windows cannot start Python without it."""


class PreparationFailed(ChatbotError):
    """The process ended without an answer."""


async def prepared_apart(parent: str, passages: Sequence[Passage]) -> PreparedPassages:
    """Return the passages as the index stores them; a cancelled call ends its process.

    Raises:
        PreparationFailed: the process was killed.
    """
    if len(passages) < SEGMENT_AT_ONCE:
        return await asyncio.to_thread(prepared, parent, passages)
    process = _started()
    working = asyncio.ensure_future(asyncio.to_thread(_asked, process, parent, passages))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        process.kill()
        with suppress(PreparationFailed):
            await working
        raise


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


def _asked(
    process: "subprocess.Popen[bytes]", parent: str, passages: Sequence[Passage]
) -> PreparedPassages:
    with process:
        raw, _ = process.communicate(b"".join(_packed(parent, passages)))
    if process.returncode:
        raise PreparationFailed("The process that analyses passages has failed.")
    found: PreparedPassages = pickle.loads(raw)  # noqa: S301 # of a process of ours, which read no file
    return found


def _packed(parent: str, passages: Sequence[Passage]) -> Iterator[bytes]:
    """Yield the parent and the passages, some at a time: other threads wait for each."""
    yield pickle.dumps(parent)
    for first in range(0, len(passages), _PACKED_AT_ONCE):
        yield pickle.dumps(passages[first : first + _PACKED_AT_ONCE])


def answer() -> None:
    """Analyse what is read from the standard input, in the process of its own."""
    if sys.platform != "win32":
        os.nice(10)
    parent, passages = pickle.load(sys.stdin.buffer), list[Passage]()  # noqa: S301 # of the service
    with suppress(EOFError):
        while True:
            passages += pickle.load(sys.stdin.buffer)  # noqa: S301 # as above
    sys.stdout.buffer.write(pickle.dumps(prepared(parent, passages)))
