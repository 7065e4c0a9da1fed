"""Schemas of roles."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, WithJsonSchema

from chatbot.domain.errors import InvalidInput
from chatbot.domain.permissions import ROLE_PERMISSIONS, Permission, Role
from chatbot.entrypoints.http.schemas.base import Answer, Body, Json, example

_PERMISSIONS = sorted(ROLE_PERMISSIONS)
_ROLE: Json = {
    "name": "team_lead",
    "permissions": ["usage.read", "users.read"],
    "description": "Sees the people and the usage of their own department.",
    "own_department_only": True,
}


def _grantable(name: str) -> str:
    if name not in ROLE_PERMISSIONS:
        raise ValueError(f"must be one of: {', '.join(_PERMISSIONS)}")
    return name


_PermissionName = Annotated[
    str,
    AfterValidator(_grantable),
    WithJsonSchema({"type": "string", "enum": [each.value for each in _PERMISSIONS]}),
]


class RoleAnswer(Answer):
    model_config = example(_ROLE)

    name: str = Field(description="The name of the role.")
    permissions: list[str] = Field(description="What the role allows, in alphabetical order.")
    description: str = Field(description="What the role is for.")
    own_department_only: bool = Field(
        description="Whether the permissions on people, usage and documents are limited to the department "
        "of the user who has the role."
    )

    @classmethod
    def of(cls, role: Role) -> Self:
        return cls(
            name=role.name,
            permissions=sorted(role.permissions),
            description=role.description,
            own_department_only=role.own_department_only,
        )


class RolesAnswer(Answer):
    model_config = example({"roles": [_ROLE]})

    roles: list[RoleAnswer] = Field(description="All roles, sorted by name.")


class RoleBody(Body):
    model_config = example(_ROLE)

    name: str | None = Field(default=None, description="Optional. Must be the name in the path.")
    permissions: list[_PermissionName] = Field(max_length=100, description="What the role allows.")
    description: str = Field(
        default="", max_length=1000, description="What the role is for: at most 200 characters."
    )
    own_department_only: bool = Field(
        default=False,
        description="Whether the permissions are limited to the department of the user who has the role. "
        "Possible with `users.read`, `users.manage`, `usage.read` and `documents.manage`; `chat`, "
        "`memory` and `documents.read` are not affected.",
    )

    def to_role(self, name: str) -> Role:
        if self.name not in {None, name}:
            raise InvalidInput("The name differs from the one in the path.", where=("name",))
        return Role(
            name=name,
            permissions=frozenset(map(Permission, self.permissions)),
            description=self.description,
            own_department_only=self.own_department_only,
        )


class DeletedRoleAnswer(Answer):
    model_config = example({"deleted": True, "name": "team_lead"})

    deleted: bool = Field(default=True, description="Always true.")
    name: str = Field(description="The name of the deleted role.")
