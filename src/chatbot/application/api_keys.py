"""Manages the API keys of applications: creates, lists, rotates and revokes them."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chatbot.application.auditing import Auditing
from chatbot.application.new_keys import (
    NewKey,
    check_new_key,
    check_user_secret,
    like,
    require_grantable,
)
from chatbot.application.people_rules import current
from chatbot.domain.assertions import sealed
from chatbot.domain.audit import Action, AuditEvent, granted
from chatbot.domain.authorization import require
from chatbot.domain.credentials import (
    ApiKey,
    KeyLine,
    RandomBytes,
    digest_of_key,
    is_key_id,
    make_key,
)
from chatbot.domain.errors import Conflict, Forbidden, NotFound
from chatbot.domain.identity import ClientId, KeyId, Principal
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKey:
    """A new key with its text, which is shown once and stored nowhere.

    `assertion_secret` is set if the key may act for users.
    """

    line: KeyLine
    raw_key: str = field(repr=False)
    assertion_secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPage:
    """A page of keys. `next` is the id after which the next page begins; None on the last page."""

    keys: Sequence[KeyLine]
    next: KeyId | None


class ApiKeys:
    """Manages the keys of applications.

    All methods raise `Forbidden` without the permission to manage keys, and those that change one
    `AuditUnavailable` if it cannot be recorded. Those that take an id raise `NotFound` if there is
    no such key.

    Args:
        pepper: keys the digests of new keys.
    """

    def __init__(
        self,
        storage: Storage,
        auditing: Auditing,
        *,
        pepper: bytes,
        clock: Clock,
        random: RandomBytes,
    ) -> None:
        self._storage, self._auditing = storage, auditing
        self._pepper, self._clock, self._random = pepper, clock, random

    async def create(self, principal: Principal, wanted: NewKey) -> MadeKey:
        """Create a key.

        Raises:
            Forbidden: also if the caller does not hold each of the scopes.
            InvalidInput: a value is invalid.
            Conflict: the client has two keys that can be used.
        """
        require(principal, Permission.KEYS_MANAGE)
        require_grantable(principal, wanted.scopes)
        now = self._clock()
        check_new_key(wanted, now)
        key, raw_key = self._made(wanted, principal, now)

        def work(tx: Transaction) -> None:
            require_grantable(self._manager(tx, principal, now), wanted.scopes)
            tx.api_keys.require_room(key.client, now)
            with self._auditing.recording(tx, principal, self._event(None, key)):
                tx.api_keys.add(key)

        await self._storage.transact(work)
        return self._shown(key, raw_key, now)

    async def page(self, principal: Principal, *, limit: int, after: KeyId | None) -> KeyPage:
        """Return keys sorted by id, including expired and revoked ones."""
        require(principal, Permission.KEYS_MANAGE)
        keys = await self._storage.transact(
            lambda tx: tx.api_keys.page(after=after, limit=limit + 1)
        )
        now = self._clock()
        lines = [key.line(now) for key in keys[:limit]]
        return KeyPage(keys=lines, next=lines[-1].id if len(keys) > limit else None)

    async def rotate(
        self,
        principal: Principal,
        key_id: KeyId,
        *,
        overlap: timedelta,
        user_secret: str | None = None,
    ) -> MadeKey:
        """Create a successor of this key, which expires after the overlap.

        The new key has the expiry that the old one had: a rotation does not extend it. It gets a
        new assertion secret, because the stored one can only be decrypted with the old key itself.

        Raises:
            Forbidden: also if the caller does not hold each of the key's scopes.
            InvalidInput: the assertion secret is invalid.
            Conflict: the key has ended, or the client would have three usable keys.
        """
        require(principal, Permission.KEYS_MANAGE)
        now = self._clock()

        def work(tx: Transaction) -> MadeKey:
            manager = self._manager(tx, principal, now)
            old = _found(tx, key_id)
            require_grantable(manager, old.scopes)
            ending = _ending(old, now, overlap)
            tx.api_keys.require_room(old.client, now, ending=None if ending.is_live(now) else old)
            wanted = like(old, user_secret)
            check_user_secret(wanted)
            key, raw_key = self._made(wanted, principal, now)
            with ExitStack() as recorded:
                for event in (self._event(old, ending), self._event(None, key)):
                    recorded.enter_context(self._auditing.recording(tx, principal, event))
                tx.api_keys.add(key)  # first: without it the old key must not end
                tx.api_keys.replace(ending, old=old)
            return self._shown(key, raw_key, now)

        return await self._storage.transact(work)

    async def revoke(self, principal: Principal, key_id: KeyId) -> KeyLine:
        """Revoke a key immediately and permanently. No-op if it is already revoked."""
        require(principal, Permission.KEYS_MANAGE)
        now = self._clock()

        def work(tx: Transaction) -> ApiKey:
            self._manager(tx, principal, now)
            old = _found(tx, key_id)
            if old.revoked_at is not None:
                return old
            revoked = replace(old, revoked_at=now)
            with self._auditing.recording(tx, principal, self._event(old, revoked)):
                tx.api_keys.replace(revoked, old=old)
            return revoked

        return (await self._storage.transact(work)).line(now)

    def _manager(self, tx: Transaction, principal: Principal, now: datetime) -> Principal:
        """Lock keys and users, and return the caller with the current rights, which may have
        changed since the call began.

        Raises:
            Forbidden: the caller may not manage keys, or the caller's own key has ended.
            InvalidToken: the caller's own sign-in has ended.
        """
        tx.users.lock()
        tx.api_keys.exclusive()
        own_id = principal.client.key_id
        own = None if own_id is None else tx.api_keys.by_id(own_id)
        if own_id is not None and (own is None or not own.is_live(now)):
            raise Forbidden("The key of this call has expired or was revoked.")
        manager = current(tx, principal, tx.roles.all(), now)
        require(manager, Permission.KEYS_MANAGE)
        return manager

    def _made(self, wanted: NewKey, principal: Principal, now: datetime) -> tuple[ApiKey, str]:
        key_id, raw_key = make_key(self._random)
        key = ApiKey(
            id=key_id,
            client=ClientId(wanted.client),
            scopes=wanted.scopes,
            digest=digest_of_key(raw_key, self._pepper),
            created_at=now,
            created_by=_author(principal),
            label=wanted.label.strip(),
            expires_at=wanted.expires_at,
            sealed_secret=(
                None
                if wanted.user_secret is None
                else sealed(wanted.user_secret, raw_key, self._pepper)
            ),
        )
        return key, raw_key

    def _shown(self, key: ApiKey, raw_key: str, now: datetime) -> MadeKey:
        secret = key.assertion_secret(raw_key, self._pepper)
        return MadeKey(line=key.line(now), raw_key=raw_key, assertion_secret=secret)

    def _event(self, old: ApiKey | None, new: ApiKey) -> AuditEvent:
        action = Action.KEY_ROTATE
        if old is None:
            action = Action.KEY_CREATE
        elif new.revoked_at is not None:
            action = Action.KEY_REVOKE
        return AuditEvent(
            action=action,
            object_type="key",
            object_id=new.id,
            reason=f"client: {new.client}; {granted((), new.scopes)}" if old is None else None,
            before=self._auditing.digest(old, salt=new.id),
            after=self._auditing.digest(new, salt=new.id),
        )


def _found(tx: Transaction, key_id: KeyId) -> ApiKey:
    key = tx.api_keys.by_id(key_id) if is_key_id(key_id) else None
    if key is None:
        raise NotFound("The key does not exist.")
    return key


def _ending(key: ApiKey, now: datetime, overlap: timedelta) -> ApiKey:
    """Return the key with its expiry at the end of the overlap, or earlier if it already expires
    earlier.

    Raises:
        Conflict: it has ended.
    """
    if not key.is_live(now):
        raise Conflict("The key has expired or was revoked: create a new one.")
    over = now + overlap
    return replace(key, expires_at=over if key.expires_at is None else min(key.expires_at, over))


def _author(principal: Principal) -> str:
    """Return who creates a key: a person's id, an account of the host, or another application."""
    if principal.user is not None:
        return principal.user.id
    if principal.source.cli_user:
        return f"cli:{principal.source.cli_user}"
    return f"client:{principal.client.id}"
