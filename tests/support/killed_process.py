"""A process that changes a folder of JSON files and is killed at each of its system calls."""

import asyncio
import ctypes
import os
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from chatbot.adapters.storage.json_files import storage as storage_module
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from killed_before import only_session
from killed_changes import CHANGES, Change
from storage_worker import app_on

SURVIVED = -1


def be_killed(root: Path, name: str, test: Connection) -> None:
    """Open the store, send the ids of the two threads, and make the change on request."""
    allow_ptrace()
    storage_module._THREADS = 1  # so that the calls have one order
    asyncio.run(_change(root, CHANGES[name], test))


def allow_ptrace() -> None:
    """Allow ptrace where Yama restricts it (https://docs.kernel.org/admin-guide/LSM/Yama.html)."""
    if sys.platform == "linux":
        pr_set_ptracer, pr_set_ptracer_any = 0x59616D61, ctypes.c_ulong(-1)
        ctypes.CDLL(None).prctl(pr_set_ptracer, pr_set_ptracer_any, 0, 0, 0)


async def _change(root: Path, change: Change, test: Connection) -> None:
    async with JsonFileStorage(root) as storage:
        app = app_on(storage)
        session_id = await only_session(app)
        [thread] = [
            each for each in threading.enumerate() if each.name.startswith("chatbot-storage")
        ]
        test.send((os.getpid(), thread.native_id))
        test.recv()
        await change.make(app, session_id, test.send)
    test.send(SURVIVED)
