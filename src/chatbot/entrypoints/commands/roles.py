"""`chatbot role list|set|delete`, for every store, also while the service is running."""

import json
from typing import Annotated

import typer

from chatbot.domain.permissions import ROLE_PERMISSIONS, Permission, Role
from chatbot.entrypoints.commands.command_line import say
from chatbot.entrypoints.commands.management import AsJson, managed, table

role = typer.Typer(help="Manage roles, which define what users may do.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the role.")]


@role.command("list")
def list_roles(*, as_json: AsJson = False) -> None:
    """List the roles."""
    roles = managed(lambda use, account: use.roles.all(account))
    if as_json:
        say(json.dumps({"roles": [_to_json(each) for each in roles]}, indent=2))
        return
    rows = [[each.name, _permissions(each), each.description] for each in roles]
    for line in table(["name", "permissions", "description"], rows):
        say(line)


@role.command("set")
def set_role(
    name: Name,
    *,
    permission: Annotated[
        list[str],
        typer.Option(
            metavar="PERMISSION",
            help="What the role allows. Replaces all permissions. Repeatable. One of: "
            f"{', '.join(sorted(ROLE_PERMISSIONS))}.",
        ),
    ],
    description: Annotated[str, typer.Option(help="What the role is for.")] = "",
    own_department_only: Annotated[
        bool,
        typer.Option(
            "--own-department-only", help="Limit the permissions to the user's own department."
        ),
    ] = False,
) -> None:
    """Create or change a role."""
    unknown = set(permission) - ROLE_PERMISSIONS
    if unknown:
        raise typer.BadParameter(f"--permission is one of: {', '.join(sorted(ROLE_PERMISSIONS))}")
    new = Role(
        name=name,
        permissions=frozenset(map(Permission, permission)),
        description=description,
        own_department_only=own_department_only,
    )
    _, is_new = managed(lambda use, account: use.roles.put(account, new))
    say(f"{'created' if is_new else 'changed'}: {name}")


@role.command("delete")
def delete_role(name: Name) -> None:
    """Delete a role that no user has."""
    managed(lambda use, account: use.roles.remove(account, name))
    say(f"deleted: {name}")


def _permissions(each: Role) -> str:
    words = ",".join(sorted(each.permissions)) or "-"
    return f"{words} (own department)" if each.own_department_only else words


def _to_json(each: Role) -> dict[str, object]:
    return {
        "name": each.name,
        "permissions": sorted(each.permissions),
        "description": each.description,
        "own_department_only": each.own_department_only,
    }
