"""User management. The callers are commands on the host, which act as an administrator."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from chatbot.domain.errors import Conflict, InvalidInput, NotFound
from chatbot.domain.identity import User, UserId, next_token_version, normalise_email
from chatbot.domain.passwords import check_password, normalise_password
from chatbot.domain.permissions import Permission, Role
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.security import PasswordHasher
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction

ADMIN_ROLE = "admin"
NO_DEPARTMENT = ""  # of the first administrator, so that it never matches a real department
MAX_DEPARTMENT_CHARS = 100
_MAKE_ROLES = (
    "Create the roles of a new store with `chatbot init`; if STORAGE_URL was changed, "
    "copy the old store with `chatbot migrate --from OLD --to NEW`."
)


class Lack(StrEnum):
    """What a store lacks when no user can administer the service."""

    ROLES = "roles"
    PEOPLE = "people"
    ADMINISTRATORS = "administrators"
    ACTIVE_ADMINISTRATORS = "active administrators"


async def lack_of(storage: Storage) -> Lack | None:
    """Return what the open store lacks, or None if an active user can administer the service."""
    roles, users = await storage.transact(lambda tx: (tx.roles.all(), tx.users.all()))
    granting = _administering(roles)
    if not granting:
        return Lack.ROLES
    if not users:
        return Lack.PEOPLE
    administrators = [user for user in users if not granting.isdisjoint(user.roles)]
    if not administrators:
        return Lack.ADMINISTRATORS
    return None if any(u.is_active for u in administrators) else Lack.ACTIVE_ADMINISTRATORS


class Administration:
    """Creates and changes users.

    Methods that change a user raise `NotFound` if no user has the address, and `Conflict` if another
    process changes the user at the same time.
    """

    def __init__(
        self, storage: Storage, hasher: PasswordHasher, clock: Clock, new_id: NewId
    ) -> None:
        self._storage = storage
        self._hasher = hasher
        self._clock = clock
        self._new_id = new_id

    async def create_first_admin(self, email: str, password: str) -> User:
        """Create the first administrator. Of concurrent calls, one succeeds.

        Raises:
            InvalidInput: the address or the password is not acceptable.
            Conflict: an administrator exists, the address is taken, or no role has the permission.
        """
        granting = _administering(await self._roles())
        user = await self._new_user(email, _first_choice(granting), NO_DEPARTMENT, password)
        await self._storage.transact(lambda tx: tx.users.add(user, unless_any_has=granting))
        return user

    async def create_user(self, email: str, role: str, department: str, password: str) -> User:
        """Create a user with one role.

        Raises:
            InvalidInput: the address, the role, the department or the password is not acceptable.
            Conflict: the address is taken.
        """
        _check_role(role, await self._roles())
        user = await self._new_user(email, role, _clean_department(department), password)
        await self._storage.transact(lambda tx: tx.users.add(user))
        return user

    async def users(self) -> Sequence[User]:
        """Return all users, ordered by e-mail address."""
        return await self._storage.transact(lambda tx: tx.users.all())

    async def disable(self, email: str) -> User:
        """Prevent the user from logging in, and revoke the user's tokens. No-op if already disabled.

        Raises:
            Conflict: also if it is the last active administrator.
        """
        return await self._change(email, lambda user: _activated(user, is_active=False))

    async def enable(self, email: str) -> User:
        """Let the user log in again; earlier tokens stay revoked. No-op if already enabled."""
        return await self._change(email, lambda user: _activated(user, is_active=True))

    async def set_password(self, email: str, password: str) -> User:
        """Set a new password, and revoke the user's tokens.

        Raises:
            InvalidInput: the password is not acceptable.
        """
        user = await self._storage.transact(lambda tx: _found(tx, email))
        check_password(password, email=user.email, department=user.department)
        password_hash = await self._hasher.hash(normalise_password(password))
        return await self._change(email, lambda user: user.with_password_hash(password_hash))

    async def _change(self, email: str, change: Callable[[User], User]) -> User:
        """Store the changed user, unless that would leave no active administrator."""

        def work(tx: Transaction) -> User:
            user = _found(tx, email)
            changed = change(user)
            if changed != user:
                granting = _administering(tx.roles.all())
                tx.users.replace(changed, old=user, keeping_one_of=granting)
            return changed

        return await self._storage.transact(work)

    async def _roles(self) -> Mapping[str, Role]:
        return await self._storage.transact(lambda tx: tx.roles.all())

    async def _new_user(self, email: str, role: str, department: str, password: str) -> User:
        address = normalise_email(email)
        check_password(password, email=address, department=department)
        return User(
            id=UserId(self._new_id()),
            email=address,
            password_hash=await self._hasher.hash(normalise_password(password)),
            roles=(role,),
            department=department,
            created_at=self._clock(),
        )


def _found(tx: Transaction, email: str) -> User:
    user = tx.users.by_email(normalise_email(email))
    if user is None:
        raise NotFound("No user has this e-mail address: list the users with `chatbot user list`.")
    return user


def _activated(user: User, *, is_active: bool) -> User:
    if user.is_active == is_active:
        return user
    return replace(user, is_active=is_active, token_version=next_token_version(user.token_version))


def _administering(roles: Mapping[str, Role]) -> frozenset[str]:
    """Return the names of the roles that allow to manage all users and roles."""
    needed = {Permission.USERS_MANAGE, Permission.ROLES_MANAGE}
    return frozenset(
        name
        for name, role in roles.items()
        if needed <= role.permissions and not role.own_department_only
    )


def _first_choice(granting: frozenset[str]) -> str:
    """Return the role for the first administrator: `admin`, else the first by name."""
    if not granting:
        raise Conflict(
            f"No role has the permissions `users.manage` and `roles.manage`. {_MAKE_ROLES}"
        )
    return ADMIN_ROLE if ADMIN_ROLE in granting else min(granting)


def _check_role(role: str, roles: Mapping[str, Role]) -> None:
    if not roles:
        raise Conflict(f"The store has no roles. {_MAKE_ROLES}")
    if role not in roles:
        raise InvalidInput(f"The role must be one of: {', '.join(sorted(roles))}.", where=("role",))


def _clean_department(raw_department: str) -> str:
    department = raw_department.strip()
    if not (department.isprintable() and 0 < len(department) <= MAX_DEPARTMENT_CHARS):
        limit = f"1 to {MAX_DEPARTMENT_CHARS} printable characters"
        raise InvalidInput(f"The department needs {limit}.", where=("department",))
    return department
