"""People who can log in."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chatbot.domain.errors import Conflict, LastAdministrator
from chatbot.domain.identity import User, UserId, next_token_version, scheme_of
from chatbot.domain.names import department_key
from chatbot.domain.permissions import Permission, Role, are_administering
from chatbot.domain.ports.records import Condition, EditRule, Kind, Layout, Match, Records
from chatbot.domain.text import rfc3339

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
    derived=("department_key", "role_list", "active_until"),
    layout=Layout.LIST,
    folder="auth",
    edit_rule=EditRule(
        field="token_version",
        of=("password_hash", "is_active"),
        moments=("expires_at",),
        after=next_token_version,
    ),
    supersedes=_supersedes,
    misnomers={
        "disabled": "is_active",
        "enabled": "is_active",
        "inactive": "is_active",
        "locked": "is_active",
        "valid_until": "expires_at",
    },
    subject="id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFilter:
    """Which users to list: those that match all fields that are not None.

    `text` is part of the e-mail address. `is_active_at`: whether active, at that moment.
    """

    text: str | None = None
    department: str | None = None
    role: str | None = None
    is_active_at: tuple[bool, datetime] | None = None

    def within(self, department: str) -> "UserFilter | None":
        """Return the filter for people of one department; None if it asks for another one."""
        wanted = self.department
        if wanted is not None and department_key(wanted) != department_key(department):
            return None
        return replace(self, department=department)

    def conditions(self) -> Iterator[Condition]:
        """Yield what the fields of a listed user have to be."""
        if self.text is not None:
            yield Condition(field="email", match=Match.HOLDING, value=self.text)
        if self.department is not None:
            key = department_key(self.department)
            yield Condition(field="department_key", match=Match.EQUAL, value=key)
        if self.role is not None:
            yield Condition(field="role_list", match=Match.HOLDING, value=f"\n{self.role}\n")
        if self.is_active_at is not None:
            is_active, now = self.is_active_at
            match = Match.AFTER if is_active else Match.UP_TO
            yield Condition(field="active_until", match=match, value=rfc3339(now))


class Users:
    """The users of the store."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def lock(self) -> None:
        """Lock users and roles until the end of the transaction.

        Data read afterwards cannot change before it is written.
        """
        self._records.exclusive(USERS)

    def add(self, user: User) -> None:
        """Store a user. Of concurrent calls with the same address, one succeeds.

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
        """Return all users, sorted by e-mail address."""
        return self._records.search(USERS, (), order_by="email")

    def page(
        self, wanted: UserFilter, *, after: str = "", limit: int | None = None
    ) -> Sequence[User]:
        """Return the matching users, sorted by e-mail address, from the first address after `after`."""
        conditions = list(wanted.conditions())
        return self._records.search(USERS, conditions, order_by="email", after=after, limit=limit)

    def department_like(self, department: str, *, besides: UserId | None = None) -> str | None:
        """Return the spelling of this department that its people have, `besides` one of them.

        None without people.
        """
        found = self.page(UserFilter(department=department), limit=2)
        return next((user.department for user in found if user.id != besides), None)

    def password_schemes(self) -> Mapping[str, int]:
        """Return the schemes of the stored password hashes, each with how many users have it."""
        hashes = (user.password_hash for user in self._records.page(USERS) if user.has_password)
        return Counter(map(scheme_of, hashes))

    def replace(self, user: User, *, old: User, roles: Mapping[str, Role]) -> None:
        """Store the user in place of `old`, who has the same id. Call `lock` before reading the roles.

        Raises:
            LastAdministrator: no administrator would remain; also guaranteed for concurrent
                changes. Conflict: the stored user is no longer `old`, or the new e-mail address is
                taken.
        """
        self.require_another_administrator(user, old=old, roles=roles)
        try:
            self._records.put(USERS, user, expected=old)
        except Conflict as error:
            raise Conflict("The user was changed in the meantime. Try again.") from error

    def require_another_administrator(
        self, user: User | None, *, old: User, roles: Mapping[str, Role]
    ) -> None:
        """Check that an administrator remains if `old` becomes `user`, or is removed.

        Raises:
            LastAdministrator: none remains.
        """
        if _can_administer(old, roles) and not (user and _can_administer(user, roles)):
            others = (each for each in self.administrators(roles) if each.id != old.id)
            if next(others, None) is None:
                raise LastAdministrator

    def require_no_administrator(self, roles: Mapping[str, Role]) -> None:
        """Check that no user is an administrator, not even a disabled one. Call `lock` before.

        Raises:
            Conflict: one is.
        """
        if any(are_administering(user.roles, roles) for user in self.all()):
            raise Conflict("There is already an administrator.")

    def administrators(self, roles: Mapping[str, Role]) -> Iterator[User]:
        """Yield those who can manage all users and roles, and will be able to as time passes.

        The rights may come from several roles. A user who expires, or has no password but a
        one-time password, does not count, because no administrator would remain after the expiry.
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
