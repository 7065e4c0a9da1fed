"""Manages the roles, and who may change them."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from chatbot.application.auditing import Auditing
from chatbot.application.people_rules import current
from chatbot.domain.audit import Action, AuditEvent, granted
from chatbot.domain.authorization import require, require_any, require_covering
from chatbot.domain.errors import Conflict, InvalidInput, LastAdministrator, NotFound
from chatbot.domain.fingerprints import ANYTHING, Expected
from chatbot.domain.identity import Principal
from chatbot.domain.names import check_role_name, clean_description
from chatbot.domain.permissions import DEFAULT_ROLES, DEPARTMENTAL, OWN, Grant, Permission, Role
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.storage import Storage
from chatbot.domain.repositories.users import UserFilter
from chatbot.domain.transaction import Transaction

_UNKNOWN = "The role does not exist."
_READERS = (Permission.ROLES_MANAGE, Permission.USERS_READ, Permission.USERS_MANAGE)


class RoleEditor:
    """Reads and changes roles.

    Methods raise `Forbidden` if the caller lacks the permission, or one that the role grants.
    """

    def __init__(self, storage: Storage, auditing: Auditing, clock: Clock) -> None:
        self._storage, self._auditing, self._clock = storage, auditing, clock

    async def all(self, principal: Principal) -> Sequence[Role]:
        """Return the roles, sorted by name."""
        require_any(principal, *_READERS)
        roles = await self._storage.transact(lambda tx: tx.roles.all())
        return [roles[name] for name in sorted(roles)]

    async def read(self, principal: Principal, name: str) -> Role:
        """Return a role.

        Raises:
            NotFound: no such role.
        """
        for role in await self.all(principal):
            if role.name == name:
                return role
        raise NotFound(_UNKNOWN)

    async def put(
        self, principal: Principal, role: Role, *, expected: Expected = ANYTHING
    ) -> tuple[Role, bool]:
        """Store a role. Return it, and whether it is new.

        Raises:
            InvalidInput: the name or the description is invalid, or a permission cannot be
                limited to a department.
            ChangedMeanwhile: the stored role is not the expected one.
            LastAdministrator: no one could manage users and roles any more.
        """
        require(principal, Permission.ROLES_MANAGE)
        role = _checked(role)

        def work(tx: Transaction) -> bool:
            roles = self._lock(tx, principal, [role], expected, name=role.name)
            old = roles.get(role.name)
            if old is None:
                check_role_name(role.name)
            _require_administrators(tx, roles, {**roles, role.name: role})
            if old != role:
                with self._recording(tx, principal, Action.ROLE_SET, old, role):
                    tx.roles.put(role, old=old)
            return old is None

        return role, await self._storage.transact(work)

    async def add_shipped(self, principal: Principal) -> Sequence[str]:
        """Create the missing built-in roles, and return their names.

        A role whose name users already have is skipped, because it would grant them rights.
        """
        require(principal, Permission.ROLES_MANAGE)

        def work(tx: Transaction) -> Sequence[str]:
            tx.users.lock()
            roles = tx.roles.all()
            missing = [
                role
                for role in DEFAULT_ROLES.values()
                if role.name not in roles and not tx.users.page(UserFilter(role=role.name), limit=1)
            ]
            for role in missing:
                with self._recording(tx, principal, Action.ROLE_SET, None, role):
                    tx.roles.put(role, old=None)
            return [role.name for role in missing]

        return await self._storage.transact(work)

    async def remove(
        self, principal: Principal, name: str, *, expected: Expected = ANYTHING
    ) -> None:
        """Delete a role that no user has.

        Raises:
            NotFound: no such role.
            Conflict: users have it.
            ChangedMeanwhile: the stored role is not the expected one.
        """
        require(principal, Permission.ROLES_MANAGE)

        def work(tx: Transaction) -> None:
            roles = self._lock(tx, principal, [], expected, name=name)
            if name not in roles:
                raise NotFound(_UNKNOWN)
            holders = len(tx.users.page(UserFilter(role=name)))
            if holders:
                number = "1 user has" if holders == 1 else f"{holders} users have"
                raise Conflict(f"The role is in use: {number} it.")
            with self._recording(tx, principal, Action.ROLE_DELETE, roles[name], None):
                tx.roles.remove(name)

        await self._storage.transact(work)

    def _lock(
        self,
        tx: Transaction,
        principal: Principal,
        new: Sequence[Role],
        expected: Expected,
        *,
        name: str,
    ) -> Mapping[str, Role]:
        """Lock users and roles, and return the roles.

        Raises:
            Forbidden: the caller lacks a permission that the role grants or is to grant.
            ChangedMeanwhile: the stored role is not the expected one.
        """
        tx.users.lock()
        roles = tx.roles.all()
        caller = current(tx, principal, roles, self._clock())
        require(caller, Permission.ROLES_MANAGE)
        old = roles.get(name)
        for role in new if old is None else [*new, old]:
            grant = Grant(permissions=role.permissions, department_only=frozenset())
            require_covering(caller, grant, "")
        expected.require(old)
        return roles

    def _recording(
        self,
        tx: Transaction,
        principal: Principal,
        action: Action,
        before: Role | None,
        after: Role | None,
    ) -> AbstractContextManager[None]:
        [name, *_] = [role.name for role in (before, after) if role is not None]
        event = AuditEvent(
            action=action,
            object_type="role",
            object_id=name,
            reason=_reason(before, after) or None,
            before=self._auditing.digest(before, salt=name),
            after=self._auditing.digest(after, salt=name),
        )
        return self._auditing.recording(tx, principal, event)


def _checked(role: Role) -> Role:
    unlimited = role.permissions - DEPARTMENTAL - OWN
    if role.own_department_only and unlimited:
        names = ", ".join(sorted(unlimited))
        raise InvalidInput(
            f"These permissions cannot be limited to a department: {names}.",
            where=("permissions",),
        )
    return replace(role, description=clean_description(role.description))


def _require_administrators(
    tx: Transaction, before: Mapping[str, Role], after: Mapping[str, Role]
) -> None:
    """Check that an administrator remains after the change of the roles.

    Raises:
        LastAdministrator: none remains.
    """
    is_none_left = next(tx.users.administrators(after), None) is None
    if is_none_left and next(tx.users.administrators(before), None) is not None:
        raise LastAdministrator


def _reason(before: Role | None, after: Role | None) -> str:
    old, new = (frozenset() if role is None else role.permissions for role in (before, after))
    parts = [granted(old, new)]
    if after is not None and (
        before is None or before.own_department_only != after.own_department_only
    ):
        parts.append("own department only" if after.own_department_only else "in all departments")
    return "; ".join(filter(None, parts))
