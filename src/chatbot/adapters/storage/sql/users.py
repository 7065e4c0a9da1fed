"""People and the roles they can have, as rows."""

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from chatbot.adapters.storage.sql.rows import role_of, user_of, user_values
from chatbot.adapters.storage.sql.sql_session import SqlSession, hot
from chatbot.adapters.storage.sql.tables import roles, users
from chatbot.domain.errors import Conflict
from chatbot.domain.identity import (
    MAX_TOKEN_VERSION,
    Role,
    User,
    UserId,
    require_another_active,
    scheme_of,
)
from chatbot.domain.ports.storage import UserRepository

_BY_ID = hot(select(users).where(users.c.id == bindparam("u")))
_BY_EMAIL = select(users).where(users.c.email == bindparam("e"))
_ALL = select(users)
_HASHES = select(users.c.password_hash)
_ROLES = hot(select(roles))


class SqlUsers(UserRepository):
    """The users as one piece of work sees them."""

    def __init__(self, sql: SqlSession) -> None:
        self._sql = sql

    def add(self, user: User, *, unless_any_has: frozenset[str] = frozenset()) -> None:
        if unless_any_has:
            self._sql.lock(users)
            given = self._sql.rows(select(users.c.roles))
            if any(unless_any_has.intersection(row.roles) for row in given):
                raise Conflict("There is already an administrator.")
        try:
            self._sql.write(insert(users), user_values(user))
        except IntegrityError as error:
            raise Conflict("The e-mail address is already in use.") from error

    def by_id(self, user_id: UserId) -> User | None:
        row = self._sql.row(_BY_ID, {"u": user_id})
        return None if row is None else user_of(row)

    def by_email(self, email: str) -> User | None:
        row = self._sql.row(_BY_EMAIL, {"e": email})
        return None if row is None else user_of(row)

    def all(self) -> Sequence[User]:
        found = map(user_of, self._sql.rows(_ALL))
        return sorted(found, key=lambda user: user.email)  # a database may order by its language

    def password_schemes(self) -> Mapping[str, int]:
        return Counter(scheme_of(row.password_hash) for row in self._sql.rows(_HASHES))

    def replace(
        self, user: User, *, old: User, keeping_one_of: frozenset[str] = frozenset()
    ) -> None:
        self._sql.lock(users)
        if self.by_id(user.id) != old:
            raise Conflict("The user was changed in the meantime. Try again.")
        others = [other for other in self.all() if other.id != user.id]
        require_another_active(user, old=old, others=others, with_any_of=keeping_one_of)
        change = update(users).where(users.c.id == user.id)
        self._sql.write(change.values(user_values(user)))

    def set_password_hash(self, user_id: UserId, *, old: str, new: str) -> None:
        change = update(users).where(users.c.id == user_id, users.c.password_hash == old)
        version = users.c.token_version % MAX_TOKEN_VERSION + 1  # as `next_token_version`
        self._sql.write(change.values(password_hash=new, token_version=version))

    def roles(self) -> Mapping[str, Role]:
        return {row.name: role_of(row) for row in self._sql.rows(_ROLES)}
