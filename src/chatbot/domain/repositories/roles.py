"""The roles that users can have."""

from collections.abc import Mapping

from chatbot.domain.permissions import DEFAULT_ROLES, Role
from chatbot.domain.ports.records import Kind, Layout, Records

ROLES = Kind(
    name="roles",
    singular="role",
    type=Role,
    key=("name",),
    layout=Layout.OBJECT,
    folder="auth",
    initial=tuple(DEFAULT_ROLES.values()),
)


class Roles:
    """The roles of the store."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def all(self) -> Mapping[str, Role]:
        """Return the roles by name."""
        return {role.name: role for role in self._records.page(ROLES)}

    def put(self, role: Role, *, old: Role | None) -> None:
        """Store the role in place of `old`, or as a new one.

        Raises:
            Conflict: the stored role is no longer `old`.
        """
        self._records.put(ROLES, role, expected=old)

    def remove(self, name: str) -> None:
        """Remove the role; no-op if absent."""
        self._records.remove(ROLES, name)
