"""/admin/roles: what the roles allow."""

from typing import Annotated

from fastapi import Path, Response

from chatbot.domain.errors import (
    AuditUnavailable,
    Conflict,
    Forbidden,
    LastAdministrator,
    NotFound,
    StorageFull,
)
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.deps.caller import Caller
from chatbot.entrypoints.http.deps.parameters import UseCases
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.etags import IfMatch, tag, tagged
from chatbot.entrypoints.http.schemas.roles import (
    DeletedRoleAnswer,
    RoleAnswer,
    RoleBody,
    RolesAnswer,
)

router = routing.router(tag="roles", prefix="/admin/roles")

_CHANGING = (Forbidden, AuditUnavailable, StorageFull)
RoleName = Annotated[str, Path(description="The name of the role.", examples=["team_lead"])]


@router.get("")
@documented(Forbidden)
async def all_roles(caller: Caller, use: UseCases) -> RolesAnswer:
    """List the roles."""
    return RolesAnswer(roles=[RoleAnswer.of(role) for role in await use.roles.all(caller)])


@router.get("/{name}", responses=tagged())
@documented(Forbidden, NotFound)
async def read(caller: Caller, name: RoleName, use: UseCases, response: Response) -> RoleAnswer:
    """Return a role."""
    role = await use.roles.read(caller, name)
    tag(response, role)
    return RoleAnswer.of(role)


@router.put("/{name}", responses=tagged())
@documented(*_CHANGING, Conflict, LastAdministrator)
async def put(
    body: RoleBody,
    caller: Caller,
    name: RoleName,
    *,
    expected: IfMatch,
    use: UseCases,
    response: Response,
) -> RoleAnswer:
    """Create or change a role; callers can only grant permissions that they hold."""
    role, _ = await use.roles.put(caller, body.to_role(name), expected=expected)
    tag(response, role)
    return RoleAnswer.of(role)


@router.delete("/{name}")
@documented(*_CHANGING, NotFound, Conflict)
async def delete(
    caller: Caller, name: RoleName, expected: IfMatch, use: UseCases
) -> DeletedRoleAnswer:
    """Delete a role that no user has."""
    await use.roles.remove(caller, name, expected=expected)
    return DeletedRoleAnswer(name=name)
