"""`chatbot admin create` and `chatbot user ...`, for every store, also while the service is running.

The next request sees the change.
"""

import asyncio
import getpass
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

import typer

from chatbot.application.administration import Administration
from chatbot.domain.identity import User
from chatbot.domain.passwords import MIN_PASSWORD_CHARS
from chatbot.domain.text import decode_utf8, rfc3339, visible_line
from chatbot.entrypoints.commands.command_line import Refused, command_settings, persistent, say

admin = typer.Typer(help="Manage administrators.", no_args_is_help=True)
user = typer.Typer(help="Manage users.", no_args_is_help=True)

Done = TypeVar("Done")
Email = Annotated[str, typer.Option(help="E-mail address for logging in.")]
EmailArgument = Annotated[
    str | None, typer.Argument(metavar="EMAIL", help="E-mail address of the user; or use --email.")
]
EmailOption = Annotated[str | None, typer.Option("--email", help="E-mail address of the user.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


@admin.command("create")
def create_admin(email: Email, *, password_stdin: PasswordStdin = False) -> None:
    """Create the first administrator; fails if there is one already."""
    password = _password(from_stdin=password_stdin)
    made = _administer(lambda use: use.create_first_admin(email, password))
    say(f"admin: {made.email}")


@user.command("create")
def create_user(
    email: Email,
    role: Annotated[str, typer.Option(help="Role, such as `admin` or `employee`.")],
    department: Annotated[str, typer.Option(help="Department, such as `sales`.")],
    *,
    password_stdin: PasswordStdin = False,
) -> None:
    """Create a user who can log in."""
    password = _password(from_stdin=password_stdin)
    made = _administer(lambda use: use.create_user(email, role, department, password))
    say(f"user: {made.email}")


@user.command("list")
def list_users(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False
) -> None:
    """List all users: e-mail address, state, roles, department."""
    users = _administer(lambda use: use.users())
    if as_json:
        say(json.dumps({"users": [_to_json(each) for each in users]}, indent=2))
        return
    for line in _table(users):
        say(line)
    if not users:
        say("no users: create the first administrator with `chatbot admin create --email EMAIL`")


@user.command("disable")
def disable_user(email: EmailArgument = None, *, option: EmailOption = None) -> None:
    """Disable a user: no more log-ins; revoke the tokens and stop running answers."""
    address = _address(email, option)
    changed = _administer(lambda use: use.disable(address))
    say(f"disabled: {changed.email}")


@user.command("enable")
def enable_user(email: EmailArgument = None, *, option: EmailOption = None) -> None:
    """Let a disabled user log in again; old tokens stay revoked."""
    address = _address(email, option)
    changed = _administer(lambda use: use.enable(address))
    say(f"enabled: {changed.email}")


@user.command("password")
def set_password(
    email: EmailArgument = None,
    *,
    option: EmailOption = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Set a user's password, revoke the tokens and stop running answers."""
    address = _address(email, option)
    password = _password(from_stdin=password_stdin)
    changed = _administer(lambda use: use.set_password(address, password))
    say(f"password changed: {changed.email}")


def _address(argument: str | None, option: str | None) -> str:
    """Returns the one address, given as an argument or an option."""
    given = {each for each in (argument, option) if each is not None}
    if len(given) != 1:
        raise typer.BadParameter("name exactly one user: EMAIL or --email EMAIL")
    return given.pop()


def _to_json(each: User) -> dict[str, object]:
    """Returns the listed fields of a user, without the password hash."""
    return {
        "id": each.id,
        "email": each.email,
        "roles": list(each.roles),
        "department": each.department,
        "is_active": each.is_active,
        "created_at": rfc3339(each.created_at),
    }


def _table(users: Sequence[User]) -> list[str]:
    rows = [
        [
            each.email,
            "active" if each.is_active else "disabled",
            ",".join(each.roles) or "-",
            each.department or "-",
        ]
        for each in users
    ]
    rows = [[visible_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return decode_utf8(sys.stdin.buffer.readline()).rstrip("\r\n")
    if not sys.stdin.isatty():
        raise Refused("Cannot ask for the password without a terminal: use --password-stdin.")
    password = getpass.getpass(f"Password ({MIN_PASSWORD_CHARS} characters or more): ")
    if getpass.getpass("Again: ") != password:
        raise Refused("The two passwords differ.")
    return password


def _administer(work: Callable[[Administration], Awaitable[Done]]) -> Done:
    """Runs `work` on the configured store.

    Raises:
        SettingsError: the settings are invalid, or the store cannot be opened.
        Refused: the store is process memory.
    """
    from chatbot.entrypoints.lifecycle import opened_administration  # noqa: PLC0415 - slow

    async def done() -> Done:
        async with opened_administration(settings) as administration:
            return await work(administration)

    settings = persistent(command_settings())
    return asyncio.run(done())
