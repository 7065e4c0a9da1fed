"""Password hashing with Argon2id in a dedicated thread."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import TypeVar

from argon2.exceptions import HashingError, VerificationError, VerifyMismatchError
from argon2.low_level import Type, hash_secret, verify_secret

from chatbot.adapters.runtime import lower_thread_priority
from chatbot.adapters.security.argon2_parameters import (
    DIGEST_BYTES,
    MAXIMUM,
    MINIMUM,
    SALT_BYTES,
    Argon2Parameters,
    dummy_hash,
    parameters_of,
    read_hash,
    read_scheme,
    type_of,
    work_of,
)
from chatbot.domain.errors import RateLimited, ShuttingDown
from chatbot.domain.identity import scheme_of
from chatbot.domain.ports.security import PasswordHasher

MAX_WAITING = 32
RETRY_AFTER_S = 2.0  # a full queue of the cheapest hashes takes about one second

Result = TypeVar("Result")


MAX_PADDING = 2**20
"""The maximum cost of one padded check, in KiB times time_cost: about a second."""

LONGEST_REST_S = 1.0

logger = logging.getLogger("chatbot.security")


class Argon2Hasher(PasswordHasher):
    """One worker thread with low priority and a short queue, so that log-ins do not slow chats down.

    A hash takes 20 to 40 ms and releases the GIL; a pool of threads would occupy every core.
    Passwords are bounded and normalised by the caller (domain.passwords).

    Correct, wrong, unknown and unreadable passwords take the same time: a check computes one hash
    of each stored scheme. A hash weaker than the current scheme is replaced at the next log-in; a
    stronger one is kept.
    """

    def __init__(
        self, cost: Argon2Parameters = MINIMUM, *, below_minimum_for_tests: bool = False
    ) -> None:
        if not cost.is_within(MAXIMUM):
            raise ValueError("the cost of a password hash is above the maximum")
        if not (MINIMUM.is_within(cost) or below_minimum_for_tests):
            raise ValueError("the cost of a password hash is below the minimum")
        self._cost = cost
        self._current = (
            f"$argon2id$v=19$m={cost.memory_kib},t={cost.time_cost},p={cost.parallelism}"
        )
        self._dummies = {self._current: dummy_hash(self._current)}
        self._excluded: frozenset[str] = frozenset()
        self._is_busy: Callable[[], bool] = lambda: False
        self._queue_slots = threading.BoundedSemaphore(MAX_WAITING + 1)  # one more is running
        self._closing = False
        self._closed = threading.Event()
        self._worker = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="argon2", initializer=lower_thread_priority
        )

    async def hash(self, password: str) -> str:
        secret = password.encode()
        return await self._in_worker(lambda: self._hash(secret))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        secret = password.encode()
        scheme = _computable_scheme(password_hash)
        if scheme is not None:
            self._pad_to_one_more(scheme)
        dummies = self._dummies
        return await self._in_worker(lambda: self._verify(secret, password_hash, dummies))

    def pad_to(self, schemes: Mapping[str, int]) -> None:
        """Pad to the most common schemes within `MAX_PADDING`."""
        kept: list[str] = []
        work = 0
        for scheme in sorted(schemes, key=lambda scheme: (-schemes[scheme], scheme)):
            read = read_scheme(scheme)
            if read is None or not read[1].is_possible:
                continue  # nobody can log in with such a hash
            if kept and work + work_of(read[1]) > MAX_PADDING:
                self._exclude(scheme)
                continue
            work += work_of(read[1])
            kept.append(scheme)
        known = self._dummies
        self._dummies = {
            each: known.get(each) or dummy_hash(each) for each in kept or [self._current]
        }

    def _pad_to_one_more(self, scheme: str) -> None:
        """Pad to a scheme that a user turns out to have before `pad_to` was called with it."""
        if scheme in self._dummies or scheme in self._excluded:
            return
        work = sum(work_of(cost) for cost in map(parameters_of, (*self._dummies, scheme)))
        if work > MAX_PADDING:
            self._exclude(scheme)
        else:
            self._dummies = {**self._dummies, scheme: dummy_hash(scheme)}

    def _exclude(self, scheme: str) -> None:
        if scheme not in self._excluded:
            self._excluded |= {scheme}
            logger.warning(
                "password hashes with many different costs are stored: log-ins with %s "
                "take longer than others",
                scheme.strip("$").replace("$", " "),
            )

    def rest_while(self, is_busy: Callable[[], bool]) -> None:
        """Pause after each hash for as long as it took, which leaves chats half of the second core.

        A lower priority alone does not help: a hash fills the caches and the memory bus.
        """
        self._is_busy = is_busy

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether a hash with the current parameters would be harder to crack.

        True if it is not Argon2id, or has less memory, time cost or parallelism, unless memory
        times time cost, the price of a guess, is higher. An unreadable hash is not replaced,
        because it permits no log-in.
        """
        read = read_hash(password_hash)
        if read is None:
            return False
        variant, cost = read
        return variant is not Type.ID or (
            not self._cost.is_within(cost) and work_of(cost) <= work_of(self._cost)
        )

    async def aclose(self) -> None:
        """Stop the worker after the running hash; waiting calls raise `ShuttingDown`."""
        self._closing = True
        self._closed.set()
        await asyncio.to_thread(self._worker.shutdown)

    async def _in_worker(self, job: Callable[[], Result]) -> Result:
        """Run the job in the worker; cancelling the caller frees its place in the queue."""
        if self._closing:
            raise ShuttingDown
        if not self._queue_slots.acquire(blocking=False):
            raise _overloaded()
        answer: Future[Result] = Future()
        answer.add_done_callback(self._release_queue_slot)
        self._worker.submit(self._run_job, job, answer)
        return await asyncio.wrap_future(answer)

    def _run_job(self, job: Callable[[], Result], answer: Future[Result]) -> None:
        """Run the job, set its result, then pause: the caller does not wait for the pause."""
        if not answer.set_running_or_notify_cancel():
            return
        began = monotonic()
        try:
            found = self._run_unless_closing(job)
        except BaseException as error:  # noqa: BLE001 - raised in the caller
            answer.set_exception(error)
        else:
            answer.set_result(found)
        if self._is_busy():
            self._closed.wait(min(monotonic() - began, LONGEST_REST_S))

    def _run_unless_closing(self, job: Callable[[], Result]) -> Result:
        if self._closing:
            raise ShuttingDown
        return job()

    def _release_queue_slot(self, _: Future[Result]) -> None:
        self._queue_slots.release()

    def _hash(self, secret: bytes) -> str:
        try:
            return hash_secret(
                secret,
                os.urandom(SALT_BYTES),
                time_cost=self._cost.time_cost,
                memory_cost=self._cost.memory_kib,
                parallelism=self._cost.parallelism,
                hash_len=DIGEST_BYTES,
                type=Type.ID,
            ).decode("ascii")
        except HashingError as error:  # with valid parameters: out of memory or threads
            raise _overloaded() from error

    def _verify(
        self, secret: bytes, password_hash: str | None, dummies: Mapping[str, bytes]
    ) -> bool:
        """Compute one hash of each scheme, in an order that does not depend on the user."""
        own = _computable_scheme(password_hash)
        is_match = False
        for scheme in dummies if own is None or own in dummies else (*dummies, own):
            if password_hash is not None and scheme == own:
                is_match = self._check(secret, password_hash, dummies.get(own))
            else:
                _hash_dummy(secret, dummies[scheme])
        return is_match

    def _check(self, secret: bytes, password_hash: str, dummy: bytes | None) -> bool:
        try:
            return verify_secret(password_hash.encode("ascii"), secret, type_of(password_hash))
        except VerifyMismatchError:
            return False
        except VerificationError:  # malformed: rejected before any work
            _hash_dummy(secret, dummy or self._dummies[self._current])
            return False


def _computable_scheme(password_hash: str | None) -> str | None:
    read = None if password_hash is None else read_hash(password_hash)
    is_computable = read is not None and read[1].is_possible
    return scheme_of(password_hash) if password_hash is not None and is_computable else None


def _hash_dummy(secret: bytes, dummy: bytes) -> None:
    """Do the work of a check without a result."""
    try:
        verify_secret(dummy, secret, type_of(dummy.decode("ascii")))
    except VerifyMismatchError:
        return
    except VerificationError as error:  # out of memory or threads
        raise _overloaded() from error


def _overloaded() -> RateLimited:
    return RateLimited("Too many people are logging in. Try again.", retry_after_s=RETRY_AFTER_S)
