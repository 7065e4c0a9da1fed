"""The permissions of callers, and the only place where actions are refused."""

from collections.abc import Mapping
from dataclasses import replace

from chatbot.domain.errors import Forbidden
from chatbot.domain.identity import NO_SOURCE, Client, ClientId, Principal, Source, User
from chatbot.domain.names import department_key
from chatbot.domain.permissions import ROLE_PERMISSIONS, Grant, Permission, Role, granted

_HOST = Client(id=ClientId("host"), permissions=ROLE_PERMISSIONS, user_permissions=frozenset())


def require(principal: Principal, permission: Permission) -> None:
    """Check that the caller has the permission, possibly only in the own department.

    Raises:
        Forbidden: the caller's effective permissions lack it.
    """
    if permission not in principal.permissions:
        raise Forbidden("You are not allowed to do this.")


def is_within_reach(principal: Principal, permission: Permission, department: str) -> bool:
    """Whether the permission, which the caller has, applies to a subject of this department."""
    only = principal.department_for(permission)
    return only is None or department_key(only) == department_key(department)


def require_any(principal: Principal, *permissions: Permission) -> None:
    """Check that the caller has one of the permissions, possibly only in the own department.

    Raises:
        Forbidden: the caller has none of them.
    """
    if principal.permissions.isdisjoint(permissions):
        raise Forbidden("You are not allowed to do this.")


def require_covering(principal: Principal, grant: Grant, department: str) -> None:
    """Check that the caller holds all that the grant gives to a user of this department.

    So callers cannot grant rights that they lack, nor act on a person who has more rights.

    Raises:
        Forbidden: the caller does not.
    """
    for permission in grant.permissions:
        is_limited = principal.department_for(permission) is not None
        is_held = permission in principal.permissions and (
            not is_limited
            or (
                permission in grant.department_only
                and is_within_reach(principal, permission, department)
            )
        )
        if not is_held:
            raise Forbidden(
                "You are not allowed to do this: it requires permissions that you lack."
            )


def of_client(client: Client, source: Source = NO_SOURCE) -> Principal:
    """The principal of an application that calls for itself."""
    return Principal(client=client, user=None, permissions=client.permissions, source=source)


def on_behalf_of(user: User, roles: Mapping[str, Role], caller: Principal) -> Principal:
    """The principal of a user who calls through a client: the intersection of both rights."""
    grant = granted(user.roles, roles, user.department)
    limit = caller.client.user_permissions
    return replace(
        caller,
        user=user,
        permissions=grant.permissions & limit,
        department_only=grant.department_only & limit,
    )


def of_nobody(source: Source) -> Principal:
    """The principal of a caller who is not identified."""
    nobody = Client(id=ClientId(""), permissions=frozenset(), user_permissions=frozenset())
    return of_client(nobody, source)


def of_host(cli_user: str) -> Principal:
    """The principal of a command, which this account of the host runs."""
    return of_client(_HOST, Source(cli_user=cli_user))
