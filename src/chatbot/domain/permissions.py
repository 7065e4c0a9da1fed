"""What callers may be allowed to do, and the roles that grant it to users."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from chatbot.domain.stored import Stored


class Permission(StrEnum):
    """What a role or an API key may allow; `KEY_ONLY` only a key."""

    CHAT = "chat"
    """Talk to the assistant and manage one's own sessions."""
    MEMORY = "memory"
    """Correct what the assistant remembers about oneself."""
    USERS_READ = "users.read"
    USERS_MANAGE = "users.manage"
    ROLES_MANAGE = "roles.manage"
    KEYS_MANAGE = "keys.manage"
    ACT_FOR_USERS = "act_for_users"
    """Name the person for whom an application calls, in a signed assertion."""
    METRICS = "metrics"
    """Read the metrics of the service."""
    SESSIONS_READ_ANY = "sessions.read_any"
    """Read another person's conversation, with a reason, and hold it."""
    AUDIT_READ = "audit.read"
    USAGE_READ = "usage.read"
    DOCUMENTS_READ = "documents.read"
    DOCUMENTS_MANAGE = "documents.manage"
    LIMITS_MANAGE = "limits.manage"


KEY_ONLY = frozenset({Permission.ACT_FOR_USERS, Permission.METRICS})
ROLE_PERMISSIONS = frozenset(Permission) - KEY_ONLY
"""What a role may grant."""

_ADMINISTER = "administer"
"""In older stores: everything that a role may grant."""


def known_permissions(words: Iterable[str]) -> frozenset[Permission]:
    """Return the permissions with these names that a role may grant; another name grants nothing."""
    named = set(words)
    if _ADMINISTER in named:
        return ROLE_PERMISSIONS
    return ROLE_PERMISSIONS.intersection(map(Permission, set(Permission).intersection(named)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A named set of permissions, granted to users.

    With `own_department_only`, what the role grants beyond one's own conversations applies only to
    the department of the user who has it.
    """

    name: str
    permissions: frozenset[Permission] = field(
        metadata=Stored(
            default=frozenset(), read_as=tuple[str, ...], clean=known_permissions
        ).metadata()
    )
    description: str = field(default="", metadata=Stored(is_sparse=True).metadata())
    own_department_only: bool = field(default=False, metadata=Stored(is_sparse=True).metadata())


DEPARTMENTAL = frozenset(
    {
        Permission.USERS_READ,
        Permission.USERS_MANAGE,
        Permission.USAGE_READ,
        Permission.DOCUMENTS_MANAGE,
    }
)
"""What can be limited to a department; a departmental role grants no other administrative right."""

DEFAULT_ROLES: Mapping[str, Role] = {
    role.name: role
    for role in (
        Role(
            name="admin",
            permissions=ROLE_PERMISSIONS - {Permission.SESSIONS_READ_ANY},
            description="Manages people, roles, keys, limits and documents.",
        ),
        Role(
            name="department_admin",
            permissions=DEPARTMENTAL,
            description="Manages the people and documents of their own department.",
            own_department_only=True,
        ),
        Role(
            name="employee",
            permissions=frozenset({Permission.CHAT, Permission.MEMORY, Permission.DOCUMENTS_READ}),
            description="Talks to the assistant.",
        ),
        Role(
            name="auditor",
            permissions=frozenset({Permission.AUDIT_READ, Permission.USAGE_READ}),
            description="Reads the audit and the usage, and nothing else.",
        ),
        Role(
            name="data_protection",
            permissions=frozenset({Permission.SESSIONS_READ_ANY, Permission.USERS_READ}),
            description="Reads a conversation for a stated reason.",
        ),
    )
}
"""The roles of a new store."""

OWN = frozenset({Permission.CHAT, Permission.MEMORY, Permission.DOCUMENTS_READ})
"""Rights over one's own data, which no department limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a user's roles grant; of `permissions`, those in `department_only` in one department."""

    permissions: frozenset[Permission]
    department_only: frozenset[Permission]


def granted(role_names: Iterable[str], roles: Mapping[str, Role], department: str) -> Grant:
    """Return what these roles grant to a user of the department.

    A name without an entry in `roles` grants nothing, and so does a departmental right to a user
    without a department, or one that cannot be limited to a department.
    """
    everywhere: set[Permission] = set()
    departmental: set[Permission] = set()
    for role in (roles[name] for name in role_names if name in roles):
        if role.own_department_only:
            everywhere |= role.permissions & OWN
            departmental |= role.permissions & DEPARTMENTAL if department else set()
        else:
            everywhere |= role.permissions
    return Grant(
        permissions=frozenset(everywhere | departmental),
        department_only=frozenset(departmental - everywhere),
    )


ADMINISTERING = frozenset({Permission.USERS_MANAGE, Permission.ROLES_MANAGE})
"""The permissions that make a user an administrator."""


def are_administering(role_names: Iterable[str], roles: Mapping[str, Role]) -> bool:
    """Whether these roles together allow managing all users and roles."""
    return granted(role_names, roles, "").permissions >= ADMINISTERING
