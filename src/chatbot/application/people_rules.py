"""Permissions on users, by the rights that are stored at the time of the call."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from chatbot.domain.authorization import (
    is_within_reach,
    on_behalf_of,
    require,
    require_covering,
)
from chatbot.domain.errors import Conflict, Forbidden, InvalidInput, InvalidToken, NotFound
from chatbot.domain.identity import MAX_ID_CHARS, Principal, User, UserId
from chatbot.domain.names import clean_department
from chatbot.domain.permissions import Permission, Role, granted
from chatbot.domain.text import is_storable
from chatbot.domain.transaction import Transaction

MAX_ROLES = 32
MAKE_ROLES = (
    "Create the roles of a new store with `chatbot init`; if STORAGE_URL was changed, "
    "copy the old store with `chatbot migrate --from OLD --to NEW`."
)


def current(
    tx: Transaction, principal: Principal, roles: Mapping[str, Role], now: datetime
) -> Principal:
    """Return the caller with the currently stored rights, which may have changed since the call began.

    Raises:
        InvalidToken: the caller's own sign-in has ended in the meantime.
    """
    if principal.user is None:
        return principal
    stored = tx.users.by_id(principal.user.id)
    if (
        stored is None
        or not principal.admits(stored, now)
        or stored.token_stamp != principal.user.token_stamp
    ):
        raise InvalidToken
    return on_behalf_of(stored, roles, principal)


def visible(tx: Transaction, principal: Principal, permission: Permission, user_id: UserId) -> User:
    """Return the user.

    Raises:
        Forbidden: the caller lacks the permission.
        NotFound: no such user, or the permission does not apply to their department.
    """
    require(principal, permission)
    is_possible = len(user_id) <= MAX_ID_CHARS and is_storable(user_id)
    user = tx.users.by_id(user_id) if is_possible else None
    if user is None or not is_within_reach(principal, permission, user.department):
        raise NotFound("The user does not exist.")
    return user


def changeable(
    tx: Transaction, principal: Principal, roles: Mapping[str, Role], user_id: UserId
) -> User:
    """Return a user whom the caller may change: one without rights that the caller lacks.

    Raises:
        NotFound, Forbidden: as `visible`, or the user has more rights.
    """
    user = visible(tx, principal, Permission.USERS_MANAGE, user_id)
    require_grantable(principal, user.roles, roles, user.department)
    return user


def require_grantable(
    principal: Principal, role_names: Iterable[str], roles: Mapping[str, Role], department: str
) -> None:
    """Check that the caller holds all rights that these roles give to a user of the department.

    Raises:
        Forbidden: the caller does not, or manages another department.
    """
    if not is_within_reach(principal, Permission.USERS_MANAGE, department):
        raise Forbidden("You are not allowed to do this: the user is in another department.")
    require_covering(principal, granted(role_names, roles, department), department)


def known_roles(names: Iterable[str], roles: Mapping[str, Role]) -> tuple[str, ...]:
    """Return the role names without duplicates.

    Raises:
        InvalidInput: one of the roles does not exist.
        Conflict: the store has no roles.
    """
    if not roles:
        raise Conflict(f"The store has no roles. {MAKE_ROLES}")
    found = tuple(dict.fromkeys(names))
    if len(found) > MAX_ROLES:
        raise InvalidInput(f"A user can have at most {MAX_ROLES} roles.", where=("roles",))
    if not roles.keys() >= set(found):
        known = ", ".join(sorted(roles))
        raise InvalidInput(f"The role must be one of: {known}.", where=("roles",))
    return found


def known_department(
    tx: Transaction, principal: Principal, raw: str, *, of: UserId | None = None
) -> str:
    """Return the department in the spelling that its existing people have, if any.

    The spelling of a department that the caller may not see is not looked up.

    Raises:
        InvalidInput: it is not a name.
    """
    department = clean_department(raw)
    if not is_within_reach(principal, Permission.USERS_MANAGE, department):
        return department
    return tx.users.department_like(department, besides=of) or department
