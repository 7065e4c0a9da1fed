"""Password hashing with Argon2id, in one thread of its own."""

import asyncio
import base64
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from argon2.exceptions import HashingError, VerificationError, VerifyMismatchError
from argon2.low_level import Type, hash_secret, verify_secret

from chatbot.adapters.runtime import lower_this_thread
from chatbot.domain.errors import RateLimited, ShuttingDown
from chatbot.domain.ports.security import PasswordHasher

MAX_WAITING = 32
RETRY_AFTER_S = 2.0  # a full queue of the cheapest hashes takes about one second
SALT_BYTES = 16  # RFC 9106, section 3.1
DIGEST_BYTES = 32  # RFC 9106, section 4
MAX_HASH_CHARS = 512

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one hash costs: memory in KiB, passes over it, lanes."""

    memory_kib: int
    passes: int
    lanes: int

    def is_within(self, limit: "Cost") -> bool:
        """Whether none of the three is above the limit's."""
        return (
            self.memory_kib <= limit.memory_kib
            and self.passes <= limit.passes
            and self.lanes <= limit.lanes
        )


FLOOR = Cost(memory_kib=19_456, passes=2, lanes=1)
"""OWASP Password Storage Cheat Sheet, Argon2id."""

CEILING = Cost(memory_kib=262_144, passes=16, lanes=16)
"""Stored hashes above are not computed, so that none can exhaust memory or hold up the worker.

Wide enough for the second recommendation of RFC 9106 (64 MiB, 3 passes, 4 lanes) and for every
default that argon2-cffi has had.
"""

_TYPES = {"argon2id": Type.ID, "argon2i": Type.I, "argon2d": Type.D}
_SHAPE = re.compile(
    r"\$(argon2id|argon2i|argon2d)(?:\$v=(?:16|19))?"
    r"\$m=([1-9]\d{0,9}),t=([1-9]\d{0,9}),p=([1-9]\d{0,9})"
    r"\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+",
    re.ASCII,
)


class Argon2Hasher(PasswordHasher):
    """One worker, low in priority, and a short queue: log-ins leave the latency of chats alone.

    A hash takes 20 to 40 ms and releases the GIL; in a pool of threads many of them at once
    would take every core. Passwords are bounded and normalised by the caller (domain.policy).

    Wrong, unknown and unreadable cost the same if the stored hashes have the current cost.
    One that is weaker is replaced at the next log-in; one that was made stronger elsewhere stays
    so, and takes longer.
    """

    def __init__(self, cost: Cost = FLOOR, *, below_floor_for_tests: bool = False) -> None:
        if not cost.is_within(CEILING):
            raise ValueError("the cost of a password hash is above the ceiling")
        if not (FLOOR.is_within(cost) or below_floor_for_tests):
            raise ValueError("the cost of a password hash is below the floor")
        self._cost = cost
        self._nobodys_hash = _nobodys_hash(cost)
        self._places = threading.BoundedSemaphore(MAX_WAITING + 1)  # one more is being served
        self._closing = False
        self._worker = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="argon2", initializer=lower_this_thread
        )

    async def hash(self, password: str) -> str:
        secret = password.encode()
        return await self._in_worker(lambda: self._hash(secret))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        secret = password.encode()
        return await self._in_worker(lambda: self._verify(secret, password_hash))

    def is_weaker(self, password_hash: str) -> bool:
        """Whether a hash with the current cost would be harder to guess from.

        That is: it is not Argon2id, or it has less memory, passes or lanes, unless it makes up
        for it: memory times passes is what a guess costs, and that must not become less. A hash
        that cannot be read is not replaced: nobody has logged in with it.
        """
        read = _read(password_hash)
        if read is None:
            return False
        variant, cost = read
        return variant is not Type.ID or (
            not self._cost.is_within(cost) and _work(cost) <= _work(self._cost)
        )

    async def aclose(self) -> None:
        """End the worker: the hash in progress is finished; calls that wait raise `ShuttingDown`."""
        self._closing = True
        await asyncio.to_thread(self._worker.shutdown)

    async def _in_worker(self, job: Callable[[], Result]) -> Result:
        """Run the job in the worker; a caller that is cancelled gives its place back."""
        if self._closing:
            raise ShuttingDown
        if not self._places.acquire(blocking=False):
            raise _too_many()
        running = self._worker.submit(self._unless_closing, job)
        running.add_done_callback(self._give_place_back)
        return await asyncio.wrap_future(running)

    def _unless_closing(self, job: Callable[[], Result]) -> Result:
        if self._closing:
            raise ShuttingDown
        return job()

    def _give_place_back(self, _: Future[Result]) -> None:
        self._places.release()

    def _hash(self, secret: bytes) -> str:
        try:
            return hash_secret(
                secret,
                os.urandom(SALT_BYTES),
                time_cost=self._cost.passes,
                memory_cost=self._cost.memory_kib,
                parallelism=self._cost.lanes,
                hash_len=DIGEST_BYTES,
                type=Type.ID,
            ).decode("ascii")
        except HashingError as error:  # with a valid cost: no memory, or no thread for a lane
            raise _too_many() from error

    def _verify(self, secret: bytes, password_hash: str | None) -> bool:
        read = None if password_hash is None else _read(password_hash)
        if password_hash is None or read is None:
            return self._verify_nobody(secret)
        try:
            return verify_secret(password_hash.encode("ascii"), secret, read[0])
        except VerifyMismatchError:
            return False
        except VerificationError:  # it only looked like a hash, and was refused before any work
            return self._verify_nobody(secret)

    def _verify_nobody(self, secret: bytes) -> bool:
        """Do the work of a check, and say no."""
        try:
            verify_secret(self._nobodys_hash, secret, Type.ID)
        except VerifyMismatchError:
            return False
        except VerificationError as error:  # no memory, or no thread for a lane
            raise _too_many() from error
        return False


def _nobodys_hash(cost: Cost) -> bytes:
    """Return a hash to which nobody knows a password. It takes no hashing to make."""
    salt, digest = (
        base64.b64encode(os.urandom(size)).rstrip(b"=").decode("ascii")
        for size in (SALT_BYTES, DIGEST_BYTES)
    )
    parameters = f"m={cost.memory_kib},t={cost.passes},p={cost.lanes}"
    return f"$argon2id$v=19${parameters}${salt}${digest}".encode("ascii")


def _read(password_hash: str) -> tuple[Type, Cost] | None:
    """Return variant and cost of an encoded hash, or None if it is none or too dear to compute."""
    shape = _SHAPE.fullmatch(password_hash) if len(password_hash) <= MAX_HASH_CHARS else None
    if shape is None:
        return None
    memory_kib, passes, lanes = map(int, shape.group(2, 3, 4))
    cost = Cost(memory_kib=memory_kib, passes=passes, lanes=lanes)
    return (_TYPES[shape.group(1)], cost) if cost.is_within(CEILING) else None


def _work(cost: Cost) -> int:
    return cost.memory_kib * cost.passes


def _too_many() -> RateLimited:
    return RateLimited("Too many people are logging in. Try again.", retry_after_s=RETRY_AFTER_S)
