"""Log-in attempts: up to 256 small files, each for the keys that begin with the same two digits.

Keys are digests and entries expire within minutes, so a file that cannot be trusted, or that a
newer version wrote, is moved aside unchanged and counting starts again: this neither locks anyone
out nor stops the throttling of later attempts.
"""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from chatbot.adapters.filesystem.atomic import (
    WORK,
    locked,
    make_durable_folder,
    put_unsynced,
    read,
)
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.sealed import seal, unseal
from chatbot.adapters.storage.json_values import Damaged, logging_path_of_errors
from chatbot.adapters.storage.records import (
    Made,
    Times,
    attempts_from_json,
    attempts_to_json,
)
from chatbot.domain.ports.storage import AttemptRepository
from chatbot.domain.throttling import AttemptKey, Throttle, with_attempt, without_attempt

ATTEMPTS = "attempts"
SET_ASIDE = ".damaged-"
MAX_KEYS = 512
"""In one file: some 50 kB. It takes as many failed attempts in 15 minutes to fill one."""

_LOCK_WAIT_S = 1.0
"""It is held for some 20 ms: a stopped process that holds it must not stop the other threads."""


def parse_attempts(raw: bytes) -> Made:
    """Read a whole file.

    Raises:
        Damaged: it was truncated or modified, or has a newer version.
    """
    if raw[-1:] != b"\n":
        raise Damaged("attempts: empty or cut off")
    return attempts_from_json(unseal(raw[:-1], ATTEMPTS), ATTEMPTS)


def is_attempts_file(name: str) -> bool:
    return name in {f"{number:02x}.json" for number in range(256)}


class AttemptFiles(AttemptRepository):
    """The files in the folder `attempts`. One lock for all: it is held for some milliseconds."""

    def __init__(self, root: Path, files: Files) -> None:
        self._root, self._files = root / ATTEMPTS, files
        self._lock = root / f".{ATTEMPTS}.lock"

    def open(self) -> None:
        make_durable_folder(self._files, self._root)

    def count(self, throttles: Sequence[Throttle], *, at: datetime) -> timedelta:
        with locked(self._files, self._lock, wait_s=_LOCK_WAIT_S):
            wait = max(
                throttle.wait(self._load(throttle.key).get(throttle.key, ()), at)
                for throttle in throttles
            )
            for key in () if wait else (throttle.key for throttle in throttles):
                self._store(key, with_attempt(self._load(key), key, at, max_keys=MAX_KEYS))
        return wait

    def withdraw(self, throttles: Sequence[Throttle], *, at: datetime) -> None:
        for throttle in throttles:
            self._take_back(throttle.key, lambda made: without_attempt(made, at))

    def clear(self, key: AttemptKey) -> None:
        self._take_back(key, lambda _: ())

    def _take_back(self, key: AttemptKey, change: Callable[[Times], Times]) -> None:
        with locked(self._files, self._lock, wait_s=_LOCK_WAIT_S):
            made = self._load(key)
            left = change(made.get(key, ()))
            if left != made.get(key, ()):
                others = {each: times for each, times in made.items() if each != key}
                self._store(key, {**others, key: left} if left else others)

    def _load(self, key: AttemptKey) -> Made:
        """Returns the key's file, empty if it cannot be trusted; call it with the lock held."""
        path = self._path(key)
        try:
            with logging_path_of_errors(path):
                return parse_attempts(read(self._files, path))
        except FileNotFoundError:
            return {}
        except Damaged:
            self._set_aside(path)
            return {}

    def _store(self, key: AttemptKey, made: Made) -> None:
        # Not synced: during a flood of log-ins, chats would have to wait for the disk.
        put_unsynced(self._files, self._path(key), seal(attempts_to_json(made)) + b"\n")

    def _set_aside(self, path: Path) -> None:
        make_durable_folder(self._files, path.parent / WORK)
        aside = path.parent / WORK / f"{path.name}{SET_ASIDE}{secrets.token_hex(8)}"
        self._files.replace(path, aside)

    def _path(self, key: AttemptKey) -> Path:
        return self._root / f"{key[:2]}.json"
