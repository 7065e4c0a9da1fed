"""Stores users: each change is checked against the caller's rights, and recorded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from chatbot.application.auditing import Auditing
from chatbot.application.people_rules import changeable, current, require_grantable
from chatbot.domain.audit import Action, granted
from chatbot.domain.errors import Conflict
from chatbot.domain.fingerprints import ANYTHING, Expected
from chatbot.domain.identity import Principal, User, UserId, next_token_version
from chatbot.domain.permissions import Role
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.repositories.users import EMAIL_IN_USE
from chatbot.domain.transaction import Transaction

_LISTED = ("email", "roles", "department", "is_active", "expires_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeContext:
    """The context of a change of a user: the open transaction, the caller's rights and the roles."""

    tx: Transaction
    caller: Principal
    roles: Mapping[str, Role]


Change = Callable[[ChangeContext, User], User]
"""Returns the user to store."""


class UserWriter:
    """Adds and changes users.

    Methods raise `Forbidden` if it involves rights that the caller lacks.
    """

    def __init__(
        self, storage: Storage, auditing: Auditing, *, clock: Clock, new_id: NewId
    ) -> None:
        self._storage, self._auditing = storage, auditing
        self._clock, self._new_id = clock, new_id

    def context(self, tx: Transaction, principal: Principal) -> ChangeContext:
        """Lock the users, and return the context of a change.

        Raises:
            InvalidToken: the caller's own sign-in has ended in the meantime.
        """
        tx.users.lock()
        roles = tx.roles.all()
        return ChangeContext(
            tx=tx, caller=current(tx, principal, roles, self._clock()), roles=roles
        )

    def add(self, context: ChangeContext, user: User) -> User:
        """Store a new user, and return it.

        Raises:
            Conflict: the e-mail address is taken.
        """
        require_grantable(context.caller, user.roles, context.roles, user.department)
        if context.tx.users.by_email(user.email) is not None:
            raise Conflict(EMAIL_IN_USE)
        user = replace(user, id=UserId(self._new_id()), audit_salt=self._new_id())
        event = self._auditing.user_event(
            Action.USER_CREATE, None, user, reason=_reason(None, user)
        )
        with self._auditing.recording(context.tx, context.caller, event):
            context.tx.users.add(user)
        return user

    async def target(self, principal: Principal, user_id: UserId) -> User:
        """Return a user whom the caller may change.

        Raises:
            NotFound: no such user, or the caller may not see them.
        """
        return await self._storage.transact(
            lambda tx: changeable(tx, principal, tx.roles.all(), user_id)
        )

    async def change(
        self,
        principal: Principal,
        user_id: UserId,
        change: Change,
        *,
        action: Action,
        expected: Expected = ANYTHING,
    ) -> User:
        """Apply a change to the user and store it. No-op if nothing changes.

        A user who becomes active or inactive loses the tokens.

        Raises:
            NotFound: as `target`.
            ChangedMeanwhile: the stored user is not the expected one.
            LastAdministrator: no one could manage users and roles any more.
            Conflict: the e-mail address is taken.
        """

        def work(tx: Transaction) -> User:
            context = self.context(tx, principal)
            user = changeable(tx, context.caller, context.roles, user_id)
            expected.require(user)
            changed = self._consistent(change(context, user), user)
            if changed != user:
                self._replace(context, changed, user, action)
            return changed

        return await self._storage.transact(work)

    def removable(
        self, principal: Principal, user_id: UserId, expected: Expected
    ) -> Callable[[Transaction], User]:
        """Return a function that locks the users, and returns the user if the caller may remove them.

        It raises what `change` raises.
        """

        def allowed(tx: Transaction) -> User:
            context = self.context(tx, principal)
            user = changeable(tx, context.caller, context.roles, user_id)
            expected.require(user)
            tx.users.require_another_administrator(None, old=user, roles=context.roles)
            return user

        return allowed

    def _consistent(self, changed: User, user: User) -> User:
        if changed == user:
            return user
        now = self._clock()
        before, after = user.is_active_at(now), changed.is_active_at(now)
        if changed.is_active != user.is_active or before != after:
            changed = replace(changed, token_version=next_token_version(user.token_version))
        return replace(changed, audit_salt=changed.audit_salt or self._new_id())

    def _replace(self, context: ChangeContext, changed: User, user: User, action: Action) -> None:
        users = context.tx.users
        require_grantable(context.caller, changed.roles, context.roles, changed.department)
        other = users.by_email(changed.email)
        if other is not None and other.id != user.id:
            raise Conflict(EMAIL_IN_USE)
        users.require_another_administrator(changed, old=user, roles=context.roles)
        event = self._auditing.user_event(action, user, changed, reason=_reason(user, changed))
        with self._auditing.recording(context.tx, context.caller, event):
            users.replace(changed, old=user, roles=context.roles)


def _reason(before: User | None, after: User) -> str:
    """List the fields that have changed, and the roles."""
    if before is None:
        return granted((), after.roles)
    changed = [name for name in _LISTED if getattr(before, name) != getattr(after, name)]
    fields = [f"changed: {', '.join(changed)}"] if changed else []
    return "; ".join(filter(None, [*fields, granted(before.roles, after.roles)]))
