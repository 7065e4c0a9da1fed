"""Issues access and refresh tokens in pairs: renews them, and ends sign-ins."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from chatbot.application.audit_queue import AuditQueue
from chatbot.application.auditing import Auditing
from chatbot.domain.audit import Action, AuditEvent, Outcome
from chatbot.domain.errors import AuditUnavailable, Conflict, InvalidToken, Unauthenticated
from chatbot.domain.identity import FamilyId, Principal, User, UserId
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.security import RefreshTokens, Tokens
from chatbot.domain.ports.storage import Storage
from chatbot.domain.sign_in import Exchange, RefreshFamily
from chatbot.domain.transaction import Transaction

DROP_EXPIRED_EVERY = timedelta(hours=1)
MOST_SIGN_INS = 50
"""The maximum of a user. Otherwise a program that only logs in would fill the store."""
COUNTED_EVERY = 10
"""After how many log-ins of a user in a process the sign-ins are counted, which reads many files."""
_REUSED = "A refresh token that was already exchanged, or that belongs to another client."
_NOT_STORED = "The store failed; no tokens were issued."
_NOT_THE_USERS = "The user is disabled or has expired, or the password was changed."


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPair:
    """An access token, and the refresh token for the next pair, with their lifetimes in seconds."""

    access_token: str = field(repr=False)
    expires_in: int
    refresh_token: str = field(repr=False)
    refresh_expires_in: int


class TokenPairs:
    """The tokens of sign-ins. A refresh token can be exchanged once.

    Args:
        lifetime: of a refresh token.
    """

    def __init__(
        self,
        storage: Storage,
        tokens: Tokens,
        refresh_tokens: RefreshTokens,
        auditing: Auditing,
        queue: AuditQueue,
        *,
        clock: Clock,
        new_id: NewId,
        lifetime: timedelta,
    ) -> None:
        self._storage = storage
        self._tokens = tokens
        self._refresh_tokens = refresh_tokens
        self._auditing, self._queue = auditing, queue
        self._clock = clock
        self._new_id = new_id
        self._lifetime = lifetime
        self._dropped_at = clock()
        self._begun = Counter[UserId]()

    def begin(self, tx: Transaction, caller: Principal, user: User) -> RefreshFamily:
        """Sign a user in, whose password is right, and record it in the same transaction."""
        family = self._new(caller, user)
        self._note(tx, caller, user, _event(Action.LOGIN, family))
        self._store(tx, family)
        return family

    @asynccontextmanager
    async def recorded(
        self, caller: Principal, user: User
    ) -> AsyncGenerator[tuple[RefreshFamily, Callable[[Transaction], None]]]:
        """Sign a user in, whose password is right: the event is durable before the sign-in is stored.

        The events of many log-ins at once share a transaction. The block stores the sign-in, with
        the function that it gets; if it fails, that is recorded, too.

        Raises:
            AuditUnavailable: the event cannot be written, and the block was not entered.
        """
        family = self._new(caller, user)
        caller, event = replace(caller, user=user), _event(Action.LOGIN, family)
        await self._queue.note(caller, event)
        try:
            yield family, partial(self._store, family=family)
        except Exception:
            failed = replace(event, outcome=Outcome.FAILED, reason=_NOT_STORED)
            with suppress(AuditUnavailable):  # which a store that fails can hardly avoid
                await self._queue.note(caller, failed)
            raise

    def pair_of(self, family: RefreshFamily, user: User) -> TokenPair:
        """Return the newest pair of a sign-in: the same whenever it is called."""
        token_id = self._refresh_tokens.access_token_id(family.id, family.number)
        return TokenPair(
            access_token=self._tokens.issue(
                user, family_id=family.id, token_id=token_id, at=family.renewed_at
            ),
            expires_in=self._tokens.ttl_s,
            refresh_token=self._refresh_tokens.issue(family.id, family.number),
            refresh_expires_in=int((family.expires_at - family.renewed_at).total_seconds()),
        )

    async def refresh(self, caller: Principal, raw_token: str) -> TokenPair:
        """Exchange a refresh token for the next pair.

        Repeating the newest exchange within ten seconds returns the same pair, because its answer
        may have been lost. Every other use of an exchanged token ends the sign-in.

        Raises:
            InvalidToken: the token is malformed, expired, exchanged or of another client, the
                sign-in has ended, or the user may not use it.
        """
        family_id, number = self._refresh_tokens.read(raw_token)
        exchange = partial(self._exchange, caller=caller, family_id=family_id, number=number)
        try:
            found = await self._storage.transact(exchange)
        except Conflict:  # another exchange came first
            found = await self._storage.transact(exchange)
        if found is None:
            raise InvalidToken
        return self.pair_of(*found)

    async def end(self, caller: Principal, raw_token: str | None) -> None:
        """End the sign-in of a refresh token, or else that of the caller's access token.

        No-op if it has already ended. The token may already have been exchanged.

        Raises:
            InvalidToken: the refresh token is malformed, or of another client or user.
            Unauthenticated: there is neither.
        """
        if raw_token is not None:
            family_id, _ = self._refresh_tokens.read(raw_token)
        elif caller.sign_in is not None:
            family_id = caller.sign_in
        else:
            raise Unauthenticated("Send the access token or a `refresh_token`.")
        await self._storage.transact(partial(self._end, caller=caller, family_id=family_id))

    async def end_all(self, caller: Principal, user: User) -> None:
        """End all sign-ins of a user, who is the caller."""

        def work(tx: Transaction) -> None:
            event = AuditEvent(action=Action.LOGOUT_ALL, object_type="user", object_id=user.id)
            with self._auditing.recording(tx, caller, event):
                tx.refresh_families.end_all(user.id, at=self._clock())

        await self._storage.transact(work)

    def _exchange(
        self, tx: Transaction, *, caller: Principal, family_id: FamilyId, number: int
    ) -> tuple[RefreshFamily, User] | None:
        at = self._clock()
        family = tx.refresh_families.by_id(family_id)
        if family is None or not family.is_live(at):
            return None
        user = tx.users.by_id(family.user_id)
        exchange = family.exchange(number, caller.client.id, at)
        if exchange is Exchange.REUSED or user is None or not family.belongs_to(user, at):
            self._note(tx, caller, user, _refusal(family, exchange))
            tx.refresh_families.end(family.id, at=at)  # so that it is recorded once
            return None
        if exchange is Exchange.NEXT:
            renewed = family.renewed(at, self._lifetime)
            tx.refresh_families.replace(renewed, old=family)
            return renewed, user
        return family, user

    def _end(self, tx: Transaction, *, caller: Principal, family_id: FamilyId) -> None:
        at = self._clock()
        family = tx.refresh_families.by_id(family_id)
        if family is None or not family.is_live(at):
            return
        is_foreign = caller.user is not None and caller.user.id != family.user_id
        if is_foreign or family.client_id != caller.client.id:
            raise InvalidToken
        user = caller.user or tx.users.by_id(family.user_id)
        self._note(tx, caller, user, _event(Action.LOGOUT, family))
        tx.refresh_families.end(family.id, at=at)

    def _new(self, caller: Principal, user: User) -> RefreshFamily:
        at = self._clock()
        return RefreshFamily(
            id=FamilyId(self._new_id()),
            user_id=user.id,
            client_id=caller.client.id,
            number=1,
            renewed_at=at,
            expires_at=at + self._lifetime,
            token_stamp=user.token_stamp,
        )

    def _store(self, tx: Transaction, family: RefreshFamily) -> None:
        at = family.renewed_at
        tx.refresh_families.add(family)
        tx.last_logins.record(family.user_id, at)
        self._drop_old(tx, family.user_id, at)

    def _drop_old(self, tx: Transaction, user_id: UserId, at: datetime) -> None:
        if abs(at - self._dropped_at) >= DROP_EXPIRED_EVERY:
            self._dropped_at = at
            tx.refresh_families.drop_expired(at)
        self._begun[user_id] += 1
        if self._begun[user_id] % COUNTED_EVERY == 0:
            tx.refresh_families.keep_newest(user_id, most=MOST_SIGN_INS)

    def _note(
        self, tx: Transaction, caller: Principal, user: User | None, event: AuditEvent
    ) -> None:
        """Record an event of a user; first in the transaction, as changes of administrators are.

        Databases lock what is written until the end: another order could be a deadlock.
        """
        self._auditing.note(tx, replace(caller, user=user), event)


def _event(action: Action, family: RefreshFamily) -> AuditEvent:
    return AuditEvent(action=action, object_type="sign_in", object_id=family.id)


def _refusal(family: RefreshFamily, exchange: Exchange) -> AuditEvent:
    is_reuse = exchange is Exchange.REUSED
    return replace(
        _event(Action.TOKEN_REUSE if is_reuse else Action.REFRESH_REFUSED, family),
        outcome=Outcome.REFUSED,
        reason=_REUSED if is_reuse else _NOT_THE_USERS,
    )
