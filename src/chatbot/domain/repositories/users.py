"""People who can log in."""

from collections import Counter
from collections.abc import Mapping, Sequence

from chatbot.domain.errors import Conflict
from chatbot.domain.identity import (
    User,
    UserId,
    next_token_version,
    require_another_active,
    scheme_of,
)
from chatbot.domain.ports.records import EditRule, Kind, Layout, Records


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


class Users:
    """The users of the store."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def add(self, user: User, *, unless_any_has: frozenset[str] = frozenset()) -> None:
        """Store a user unless a user already has one of these roles; of many at once, one wins.

        Raises:
            Conflict: a user has such a role, or the e-mail address is taken.
        """
        if unless_any_has:
            self._records.exclusive(USERS)
            if any(unless_any_has.intersection(other.roles) for other in self.all()):
                raise Conflict("There is already an administrator.")
        try:
            self._records.put(USERS, user, expected=None)
        except Conflict as error:
            raise Conflict("The e-mail address is already in use.") from error

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

    def password_schemes(self) -> Mapping[str, int]:
        """Return the schemes of the stored password hashes, each with how many users have it."""
        return Counter(scheme_of(user.password_hash) for user in self._records.page(USERS))

    def replace(
        self, user: User, *, old: User, keeping_one_of: frozenset[str] = frozenset()
    ) -> None:
        """Store the user in place of `old`, who has the same id and e-mail address.

        Raises:
            Conflict: the stored user is not `old` by now, or no active user would be left who has
                one of the roles `keeping_one_of`; of two such changes at once, one wins at most.
        """
        self._records.exclusive(USERS)
        if self.by_id(user.id) == old:
            others = (other for other in self._records.page(USERS) if other.id != user.id)
            require_another_active(user, old=old, others=others, with_any_of=keeping_one_of)
        try:
            self._records.put(USERS, user, expected=old)
        except Conflict as error:
            raise Conflict("The user was changed in the meantime. Try again.") from error

    def set_password_hash(self, user_id: UserId, *, old: str, new: str) -> User | None:
        """Replace a password hash and raise the token version, if the hash still is `old`.

        Returns:
            The user as stored now, or None.
        """
        self._records.exclusive(USERS)
        user = self.by_id(user_id)
        if user is None or user.password_hash != old:
            return user
        changed = user.with_password_hash(new)
        self._records.put(USERS, changed, expected=user)
        return changed
