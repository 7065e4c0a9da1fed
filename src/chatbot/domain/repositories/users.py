"""People who can log in."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from chatbot.domain.errors import Conflict, LastAdministrator
from chatbot.domain.identity import User, UserId, next_token_version, scheme_of
from chatbot.domain.names import department_key
from chatbot.domain.permissions import Permission, Role, are_administering
from chatbot.domain.ports.records import EditRule, Kind, Layout, Records

EMAIL_IN_USE = "The e-mail address is already in use."


def _supersedes(new: User, old: User) -> bool:
    is_same = (new.id, new.email) == (old.id, old.email)
    return is_same and new.token_version >= old.token_version


USERS = Kind(
    name="users",
    singular="user",
    type=User,
    key=("id",),
    unique=("email",),
    layout=Layout.LIST,
    folder="auth",
    edit_rule=EditRule(
        field="token_version", of=("password_hash", "is_active"), after=next_token_version
    ),
    supersedes=_supersedes,
    subject="id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFilter:
    """Which users are listed: those that fit all that is not None.

    `text` occurs in the e-mail address. `is_active_at`: whether active, at that moment.
    """

    text: str | None = None
    department: str | None = None
    role: str | None = None
    is_active_at: tuple[bool, datetime] | None = None

    def within(self, department: str) -> "UserFilter | None":
        """Return the filter for people of one department; None if it asks for another one."""
        if self.department is not None and not _is_same(self.department, department):
            return None
        return replace(self, department=department)

    def fits(self, user: User) -> bool:
        """Whether the user is listed."""
        if self.is_active_at is not None:
            is_active, now = self.is_active_at
            if user.is_active_at(now) != is_active:
                return False
        return (
            (self.role is None or self.role in user.roles)
            and (self.department is None or _is_same(self.department, user.department))
            and (self.text is None or self.text in user.email)
        )


def _is_same(one: str, other: str) -> bool:
    return department_key(one) == department_key(other)


class Users:
    """The users of the store."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def lock(self) -> None:
        """Keep others from changing users, and the roles that they have, until the end.

        What is read after this cannot have changed when it is written.
        """
        self._records.exclusive(USERS)

    def add(self, user: User) -> None:
        """Store a user; of many at once with one address, one wins.

        Raises:
            Conflict: the e-mail address is taken.
        """
        try:
            self._records.put(USERS, user, expected=None)
        except Conflict as error:
            raise Conflict(EMAIL_IN_USE) from error

    def by_id(self, user_id: UserId) -> User | None:
        """Return the user, or None."""
        return self._records.get(USERS, user_id)

    def by_email(self, email: str) -> User | None:
        """Return the user with this normalised e-mail address, or None."""
        return self._records.find(USERS, "email", email)

    def remove(self, user_id: UserId) -> None:
        """Remove the user; no-op if absent."""
        self._records.remove(USERS, user_id)

    def all(self) -> Sequence[User]:
        """Return all users, by e-mail address."""
        return sorted(self._records.page(USERS), key=lambda user: user.email)

    def page(
        self, wanted: UserFilter, *, after: str = "", limit: int | None = None
    ) -> Sequence[User]:
        """Return the users that fit, by e-mail address, from the first address after `after`."""
        found = (user for user in self.all() if user.email > after and wanted.fits(user))
        return list(islice(found, limit))

    def department_like(self, department: str) -> str | None:
        """Return the spelling of this department that its people have; None without people."""
        found = self.page(UserFilter(department=department), limit=1)
        return found[0].department if found else None

    def password_schemes(self) -> Mapping[str, int]:
        """Return the schemes of the stored password hashes, each with how many users have it."""
        hashes = (user.password_hash for user in self._records.page(USERS) if user.has_password)
        return Counter(map(scheme_of, hashes))

    def replace(self, user: User, *, old: User, roles: Mapping[str, Role]) -> None:
        """Store the user in place of `old`, who has the same id. Call `lock` before reading the roles.

        Raises:
            LastAdministrator: no administrator would be left; of such changes at once, one wins at
                most.
            Conflict: the stored user is not `old` by now, or the new e-mail address is taken.
        """
        self.require_another_administrator(user, old=old, roles=roles)
        try:
            self._records.put(USERS, user, expected=old)
        except Conflict as error:
            raise Conflict("The user was changed in the meantime. Try again.") from error

    def require_another_administrator(
        self, user: User | None, *, old: User, roles: Mapping[str, Role]
    ) -> None:
        """Return unless `old`, the last administrator, becomes `user`, who is none, or is removed.

        Raises:
            LastAdministrator: that is so.
        """
        if _can_administer(old, roles) and not (user and _can_administer(user, roles)):
            others = (each for each in self.administrators(roles) if each.id != old.id)
            if next(others, None) is None:
                raise LastAdministrator

    def require_no_administrator(self, roles: Mapping[str, Role]) -> None:
        """Return if no user is an administrator, not even a disabled one. Call `lock` before.

        Raises:
            Conflict: one is.
        """
        if any(are_administering(user.roles, roles) for user in self.all()):
            raise Conflict("There is already an administrator.")

    def administrators(self, roles: Mapping[str, Role]) -> Iterator[User]:
        """Yield those who can manage all users and roles, and will be able to as time passes.

        The rights may come from several roles. A user who expires, or has no password but a
        one-time password, does not count: nobody would be left once the time is over.
        """
        for role in roles.values():
            if Permission.USERS_MANAGE in role.permissions and not role.own_department_only:
                for user in self.page(UserFilter(role=role.name)):
                    if _can_administer(user, roles):
                        yield user

    def set_password_hash(self, user_id: UserId, *, old: str, new: str) -> User | None:
        """Replace a password hash and raise the token version, if the hash still is `old`.

        Returns:
            The user as stored now, or None.
        """
        self.lock()
        user = self.by_id(user_id)
        if user is None or user.password_hash != old:
            return user
        changed = user.with_password_hash(new)
        self._records.put(USERS, changed, expected=user)
        return changed


def _can_administer(user: User, roles: Mapping[str, Role]) -> bool:
    return user.is_lasting and are_administering(user.roles, roles)
