"""Identifies callers: logs people in with a password, and finds the user of a token."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from weakref import WeakValueDictionary

from chatbot.application.audit_queue import AuditQueue
from chatbot.application.auditing import Auditing
from chatbot.application.request_limits import RequestCount
from chatbot.application.token_pairs import TokenPair, TokenPairs
from chatbot.domain.audit import Action, AuditEvent, Outcome
from chatbot.domain.authorization import on_behalf_of
from chatbot.domain.email_addresses import normalise_email
from chatbot.domain.errors import (
    InvalidCredentials,
    InvalidInput,
    InvalidToken,
    RateLimited,
    ShuttingDown,
    StorageFailure,
)
from chatbot.domain.identity import Principal, User
from chatbot.domain.passwords import is_checkable, normalise_password
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.security import PasswordHasher, Tokens
from chatbot.domain.ports.storage import Storage
from chatbot.domain.throttling import AttemptKey, Throttle, account_throttle, address_throttle
from chatbot.domain.transaction import Transaction

TURN_WAIT_S = 5.0
SCHEMES_HOLD_S = 60.0
"""How long the list of password schemes in use is cached. A new scheme of the user who logs in counts
at once."""
MAX_AT_ONCE = 32
"""Maximum number of concurrent log-ins in all processes: fewer than the failures that are allowed
per address.
"""

_Admit = Callable[[Callable[[Transaction], None]], Awaitable[None]]


class Authentication:
    """Logs people in and identifies callers.

    Args:
        processes: how many processes share the maximum of concurrent log-ins.
        throttle_secret: keys the counters of failed log-ins. It must be the same in all processes
            and after a restart; the default is random, so that the counters are this process's own.
    """

    def __init__(
        self,
        storage: Storage,
        hasher: PasswordHasher,
        tokens: Tokens,
        pairs: TokenPairs,
        auditing: Auditing,
        *,
        queue: AuditQueue,
        clock: Clock,
        processes: int = 1,
        throttle_secret: bytes | None = None,
    ) -> None:
        self._storage = storage
        self._hasher = hasher
        self._tokens = tokens
        self._pairs = pairs
        self._auditing, self._queue = auditing, queue
        self._clock = clock
        self._throttle_secret = throttle_secret or secrets.token_bytes(32)
        self._schemes_read_at = float("-inf")
        self._turns: WeakValueDictionary[AttemptKey, asyncio.Lock] = WeakValueDictionary()
        self._concurrent = asyncio.Semaphore(max(1, MAX_AT_ONCE // processes))

    async def login(self, caller: Principal, email: str, password: str) -> TokenPair:
        """Sign in the user with this e-mail address and password.

        `caller` is the application that asks; attempts are counted for its network address, too.

        Raises:
            InvalidCredentials: the user is unknown or disabled, or the password is wrong: the same
                response after the same work (OWASP Authentication Cheat Sheet, "Authentication and
                Error Messages").
            RateLimited: too many attempts have failed, or too many log-ins are in progress.
            AuditUnavailable: it cannot be recorded.
        """
        async with self._checked(caller, email, password) as (user, admit):
            async with self._pairs.recorded(caller, user) as (family, store):
                await admit(store)
            return self._pairs.pair_of(family, user)

    async def verified(self, caller: Principal, email: str, password: str) -> User:
        """Return the user with this e-mail address and password.

        Raises:
            InvalidCredentials, RateLimited: as `login`.
        """
        async with self._checked(caller, email, password) as (user, admit):
            await admit(lambda _: None)
            return user

    @asynccontextmanager
    async def _checked(
        self, caller: Principal, email: str, password: str
    ) -> AsyncGenerator[tuple[User, _Admit]]:
        """Check the password; the block admits its user, with work for the same transaction."""
        if not is_checkable(password):  # fast, but independent of the account
            raise InvalidCredentials
        password = normalise_password(password)
        account = account_throttle(email, secret=self._throttle_secret)
        address = address_throttle(caller.source.address, secret=self._throttle_secret)
        async with self._turn_of(account):
            at = self._clock()
            user = await self._count_attempt(email, (account, address), at)
            if not await self._verify(password, user, (account, address), at) or user is None:
                await self._note_failure(caller, email)
                raise InvalidCredentials
            user = await self._rehash_if_needed(user, password)
            yield user, partial(self._admit, account=account, address=address, at=at)

    async def identify(
        self, caller: Principal, raw_token: str | None, counting: RequestCount | None = None
    ) -> Principal:
        """Return the caller with the permissions that are stored now, and the user of the token.

        `caller` is the application that sent the token. A user with a one-time password has no
        permissions. The request may be counted while the user is looked up.

        Raises:
            InvalidToken: the token is invalid or was revoked: its sign-in has ended, or its user was
                removed or disabled, has expired, or has a new password or token version.
        """
        if raw_token is None:
            return caller
        claims = self._tokens.read(raw_token)
        if counting is not None:
            counting.look_up(claims)
        found = await self._storage.find_caller(claims.user_id, claims.family_id)
        user = found.user
        if user is None or user.token_stamp != claims.token_stamp:
            raise InvalidToken
        if not (found.is_signed_in and user.may_sign_in(self._clock())):
            raise InvalidToken
        roles = found.roles if user.one_time_until is None else {}
        return replace(on_behalf_of(user, roles, caller), sign_in=claims.family_id)

    @asynccontextmanager
    async def _turn_of(self, account: Throttle) -> AsyncGenerator[None]:
        """Admit one log-in of an account at a time, and limit those of all accounts together.

        Otherwise many correct log-ins at once, of one person or from one address, would count as
        guesses until each is verified. Hashing has a single worker anyway.
        """
        turn = self._turns.setdefault(account.key, asyncio.Lock())
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(TURN_WAIT_S):
                    await held.enter_async_context(turn)
                    await held.enter_async_context(self._concurrent)
            except TimeoutError as error:
                message = "Too many log-ins at once. Try again."
                raise RateLimited(message, retry_after_s=1) from error
            yield

    async def _count_attempt(
        self, email: str, throttles: tuple[Throttle, ...], at: datetime
    ) -> User | None:
        """Count the attempt, and return the active user with this address, if any.

        Raises:
            RateLimited: the account or the address must wait; the attempt is not counted.
        """
        now = asyncio.get_running_loop().time()
        is_due = now - self._schemes_read_at >= SCHEMES_HOLD_S

        def work(tx: Transaction) -> tuple[User | None, timedelta]:
            if is_due:
                self._hasher.pad_to(tx.users.password_schemes())
            return _active_user(tx, email, at), tx.attempts.count(throttles, at=at)

        user, wait = await self._storage.transact(work)
        if is_due:
            self._schemes_read_at = now
        if wait:
            message = "Too many failed log-ins. Try again later."
            raise RateLimited(message, retry_after_s=wait.total_seconds())
        return user

    async def _verify(
        self, password: str, user: User | None, throttles: tuple[Throttle, ...], at: datetime
    ) -> bool:
        try:
            return await self._hasher.verify(password, user.password_hash if user else None)
        except (RateLimited, ShuttingDown):  # the password was not checked
            await self._storage.transact(lambda tx: tx.attempts.withdraw(throttles, at=at))
            raise

    async def _note_failure(self, caller: Principal, email: str) -> None:
        """Record a failed log-in, in the same way whether or not the account exists."""
        account = self._auditing.pseudonym(email.strip().lower())
        event = AuditEvent(
            action=Action.LOGIN_FAILED,
            outcome=Outcome.REFUSED,
            object_type="account",
            object_id=account,
        )
        await self._queue.note(caller, event)

    async def _admit(
        self,
        work: Callable[[Transaction], None],
        *,
        account: Throttle,
        address: Throttle,
        at: datetime,
    ) -> None:
        """Do the work, clear the account's failed attempts, and do not count this one against the
        address.

        Earlier attempts from the address still count: owning one account must not allow more
        guesses at others.
        """

        def admit(tx: Transaction) -> None:
            work(tx)
            tx.attempts.clear(account.key)
            tx.attempts.withdraw((address,), at=at)

        await self._storage.transact(admit)

    async def _rehash_if_needed(self, user: User, password: str) -> User:
        """Replace a hash whose parameters are below the current ones, now that the password is known.

        Returns:
            The user as stored. If another process changed the password in the meantime: the user
            passed in, whose tokens are no longer valid.
        """
        if not self._hasher.needs_rehash(user.password_hash):
            return user
        try:
            new = await self._hasher.hash(password)
            stored = await self._storage.transact(
                lambda tx: tx.users.set_password_hash(user.id, old=user.password_hash, new=new)
            )
        except (RateLimited, StorageFailure):
            return user  # the old hash remains, and the next log-in tries again
        return stored if stored is not None and stored.password_hash == new else user


def _active_user(tx: Transaction, email: str, at: datetime) -> User | None:
    """Return the user with this address who may sign in, or None."""
    try:
        address = normalise_email(email)
    except InvalidInput:
        return None  # no user can have it
    user = tx.users.by_email(address)
    return user if user is not None and user.may_sign_in(at) else None
