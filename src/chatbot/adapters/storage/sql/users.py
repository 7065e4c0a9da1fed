"""People and the roles they can have, as rows."""

from collections.abc import Mapping

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from chatbot.adapters.storage.sql.rows import role_of, user_of, user_values
from chatbot.adapters.storage.sql.statements import Statements
from chatbot.adapters.storage.sql.tables import roles, users
from chatbot.domain.errors import Conflict
from chatbot.domain.identity import Role, User, UserId
from chatbot.domain.ports.storage import UserRepository

_BY_ID = select(users).where(users.c.id == bindparam("u"))
_BY_EMAIL = select(users).where(users.c.email == bindparam("e"))
_ROLES = select(roles)


class SqlUsers(UserRepository):
    """The users as one piece of work sees them."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def add(self, user: User, *, unless_any_has: frozenset[str] = frozenset()) -> None:
        if unless_any_has:
            self._statements.lock(users)
            given = self._statements.rows(select(users.c.roles))
            if any(unless_any_has.intersection(row.roles) for row in given):
                raise Conflict("There is an administrator already.")
        try:
            self._statements.write(insert(users), user_values(user))
        except IntegrityError as error:
            raise Conflict("The e-mail address is taken.") from error

    def by_id(self, user_id: UserId) -> User | None:
        row = self._statements.row(_BY_ID, {"u": user_id})
        return None if row is None else user_of(row)

    def by_email(self, email: str) -> User | None:
        row = self._statements.row(_BY_EMAIL, {"e": email})
        return None if row is None else user_of(row)

    def set_password_hash(self, user_id: UserId, *, old: str, new: str) -> None:
        change = update(users).where(users.c.id == user_id, users.c.password_hash == old)
        self._statements.write(change.values(password_hash=new))

    def roles(self) -> Mapping[str, Role]:
        return {row.name: role_of(row) for row in self._statements.rows(_ROLES)}
