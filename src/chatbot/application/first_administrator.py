"""Whether a store has an administrator, and the roles that its first one gets."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from chatbot.application.people_rules import MAKE_ROLES
from chatbot.domain.errors import Conflict
from chatbot.domain.permissions import Role, are_administering
from chatbot.domain.ports.storage import Storage

ADMIN_ROLE = "admin"
NO_DEPARTMENT = ""  # of the first administrator, so that it never matches a real department


class AdministratorProblem(StrEnum):
    """Why no user can administer the service: what the store lacks."""

    ROLES = "roles"
    PEOPLE = "people"
    ADMINISTRATORS = "administrators"
    ACTIVE_ADMINISTRATORS = "active administrators"


async def administrator_problem(storage: Storage, now: datetime) -> AdministratorProblem | None:
    """Return what the open store lacks, or None if an active user can administer the service."""
    roles, users = await storage.transact(lambda tx: (tx.roles.all(), tx.users.all()))
    if not _administering(roles):
        return AdministratorProblem.ROLES
    if not users:
        return AdministratorProblem.PEOPLE
    administrators = [user for user in users if are_administering(user.roles, roles)]
    if not administrators:
        return AdministratorProblem.ADMINISTRATORS
    is_one_active = any(user.may_sign_in(now) for user in administrators)
    return None if is_one_active else AdministratorProblem.ACTIVE_ADMINISTRATORS


def first_role(roles: Mapping[str, Role]) -> str:
    """Return the role for the first administrator: `admin`, else the first by name.

    Raises:
        Conflict: no single role allows managing all users and roles.
    """
    granting = _administering(roles)
    if not granting:
        raise Conflict(
            f"No role has the permissions `users.manage` and `roles.manage`. {MAKE_ROLES}"
        )
    return ADMIN_ROLE if ADMIN_ROLE in granting else min(granting)


def _administering(roles: Mapping[str, Role]) -> list[str]:
    """Return the names of the roles that allow managing all users and roles."""
    return [name for name in roles if are_administering([name], roles)]
