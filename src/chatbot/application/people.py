"""The people who can log in: administrators create, read and change them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chatbot.application.erasure import Erasures
from chatbot.application.first_administrator import NO_DEPARTMENT, first_role
from chatbot.application.people_rules import known_department, known_roles, visible
from chatbot.application.user_changes import NewUser, UserChange
from chatbot.application.user_passwords import ONE_TIME_TTL, WithPassword
from chatbot.application.user_writer import UserWriter
from chatbot.domain.authorization import require
from chatbot.domain.email_addresses import normalise_email
from chatbot.domain.erasure import Receipt
from chatbot.domain.errors import NotFound
from chatbot.domain.fingerprints import ANYTHING, Expected
from chatbot.domain.identity import Principal, User, UserId
from chatbot.domain.passwords import check_password, normalise_password
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.security import PasswordHasher
from chatbot.domain.ports.storage import Storage
from chatbot.domain.repositories.users import UserFilter
from chatbot.domain.text import replace_unstorable, rfc3339
from chatbot.domain.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user, and when they last logged in; None for never."""

    user: User
    last_login_at: datetime | None = None

    def shown(self) -> dict[str, object]:
        """Return the user as callers see it, in JSON types."""
        user = self.user
        return {
            "id": user.id,
            "email": user.email,
            "roles": list(user.roles),
            "department": user.department,
            "is_active": user.is_active,
            "created_at": rfc3339(user.created_at),
            "last_login_at": _time(self.last_login_at),
            "expires_at": _time(user.expires_at),
            "has_password": user.has_password,
            "source": user.source.value,
        }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPage:
    """A page of users, sorted by e-mail address. `next` is the last address if more follow."""

    people: Sequence[Person]
    next: str | None


class People:
    """Creates, reads and changes users.

    Methods raise `Forbidden` if the caller lacks the permission, or if it involves rights that the
    caller lacks, and `NotFound` for users whom the caller may not see. Those that change a user
    raise `ChangedMeanwhile` if the stored user is not the expected one, and `LastAdministrator` if
    no one could manage users and roles any more.

    Args:
        new_password: makes a one-time password.
    """

    def __init__(
        self,
        storage: Storage,
        hasher: PasswordHasher,
        writer: UserWriter,
        erasures: Erasures,
        *,
        clock: Clock,
        new_password: Callable[[], str],
    ) -> None:
        self._storage, self._hasher, self._writer = storage, hasher, writer
        self._erasures = erasures
        self._clock, self._new_password = clock, new_password

    async def create_first_admin(self, principal: Principal, email: str, password: str) -> User:
        """Create the first administrator. Of concurrent calls, one succeeds.

        Raises:
            InvalidInput: the address or the password is invalid.
            Conflict: an administrator exists, the address is taken, or no role has the permissions.
        """
        require(principal, Permission.USERS_MANAGE)
        new = NewUser(email=email, roles=(), department=NO_DEPARTMENT, password=password)
        first_role(await self._storage.transact(lambda tx: tx.roles.all()))
        user = await self._hashed(new)

        def work(tx: Transaction) -> User:
            context = self._writer.context(tx, principal)
            tx.users.require_no_administrator(context.roles)
            return self._writer.add(context, replace(user, roles=(first_role(context.roles),)))

        return await self._storage.transact(work)

    async def create(self, principal: Principal, new: NewUser) -> WithPassword:
        """Create a user.

        Raises:
            InvalidInput: the address, a role, the department or the password is invalid.
            Conflict: the address is taken.
        """
        require(principal, Permission.USERS_MANAGE)
        one_time = self._new_password() if new.password is None else None
        user = await self._hashed(new, one_time)

        def work(tx: Transaction) -> User:
            context = self._writer.context(tx, principal)
            require(context.caller, Permission.USERS_MANAGE)
            roles = known_roles(new.roles, context.roles)
            department = known_department(tx, context.caller, new.department)
            return self._writer.add(context, replace(user, roles=roles, department=department))

        return WithPassword(user=await self._storage.transact(work), one_time_password=one_time)

    def filter(
        self,
        *,
        text: str | None = None,
        department: str | None = None,
        role: str | None = None,
        is_active: bool | None = None,
    ) -> UserFilter:
        """Return the filter for users who match all given values; `is_active` applies to this
        moment.
        """
        return UserFilter(
            text=None if text is None else replace_unstorable(text).strip().lower(),
            department=None if department is None else replace_unstorable(department),
            role=None if role is None else replace_unstorable(role),
            is_active_at=None if is_active is None else (is_active, self._clock()),
        )

    async def page(
        self, principal: Principal, wanted: UserFilter, *, limit: int, after: str = ""
    ) -> UserPage:
        """Return users that the caller may see, sorted by e-mail address."""
        require(principal, Permission.USERS_READ)
        only = principal.department_for(Permission.USERS_READ)
        visible_ones = wanted if only is None else wanted.within(only)
        if visible_ones is None:
            return UserPage(people=(), next=None)

        def work(tx: Transaction) -> tuple[Sequence[User], Sequence[Person]]:
            found = tx.users.page(visible_ones, after=after, limit=limit + 1)
            return found, _people(tx, found[:limit])

        found, people = await self._storage.transact(work)
        return UserPage(people=people, next=found[limit - 1].email if len(found) > limit else None)

    async def read(self, principal: Principal, user_id: UserId) -> Person:
        """Return a user."""

        def work(tx: Transaction) -> Person:
            user = visible(tx, principal, Permission.USERS_READ, user_id)
            return _people(tx, [user])[0]

        return await self._storage.transact(work)

    async def find(self, principal: Principal, email: str) -> Person:
        """Return the user with this e-mail address."""
        require(principal, Permission.USERS_READ)
        address = normalise_email(email)
        user = await self._storage.transact(lambda tx: tx.users.by_email(address))
        if user is None:
            raise NotFound(
                "No user has this e-mail address: list the users with `chatbot user list`."
            )
        return await self.read(principal, user.id)

    async def change(
        self,
        principal: Principal,
        user_id: UserId,
        change: UserChange,
        *,
        expected: Expected = ANYTHING,
    ) -> Person:
        """Change the given fields. Disabling or enabling the user revokes the tokens.

        Raises:
            InvalidInput: a value is invalid.
            Conflict: the address is taken.
        """
        user = await self._writer.change(
            principal, user_id, change.apply, action=change.action, expected=expected
        )
        return (await self._storage.transact(lambda tx: _people(tx, [user])))[0]

    async def erase(
        self, principal: Principal, user_id: UserId, *, expected: Expected = ANYTHING
    ) -> Receipt:
        """Erase a user and all data about them; see `Erasures.erase`.

        Raises:
            SessionHeld: sessions of the user are on hold.
            SessionBusy: a turn of the user did not end in time; call again.
        """
        require(principal, Permission.USERS_MANAGE)
        allowed = self._writer.removable(principal, user_id, expected)
        return await self._erasures.erase(principal, allowed)

    async def _hashed(self, new: NewUser, one_time: str | None = None) -> User:
        """Return the user with the hash of the password; roles and department are not final."""
        email, now = normalise_email(new.email), self._clock()
        if new.password is not None:
            check_password(new.password, email=email, department=new.department)
        password = one_time if new.password is None else normalise_password(new.password)
        return User(
            id=UserId(""),
            email=email,
            password_hash=await self._hasher.hash(password or ""),
            roles=(),
            department=new.department,
            created_at=now,
            expires_at=new.expires_at,
            one_time_until=now + ONE_TIME_TTL if one_time else None,
        )


def _people(tx: Transaction, users: Sequence[User]) -> Sequence[Person]:
    times = tx.last_logins.of(user.id for user in users)
    return [Person(user=user, last_login_at=times.get(user.id)) for user in users]
