"""`chatbot admin create` and `chatbot user ...`: on every store, beside a running service.

The service sees a change with its next request.
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
from chatbot.domain.policy import MIN_PASSWORD_CHARS
from chatbot.domain.text import decode_utf8, rfc3339, visible_line
from chatbot.entrypoints.command_line import Refused, command_settings, lasting
from chatbot.entrypoints.console import say

admin = typer.Typer(help="Administrators.", no_args_is_help=True)
user = typer.Typer(help="Users.", no_args_is_help=True)

Done = TypeVar("Done")
Email = Annotated[str, typer.Option(help="E-mail address to log in with.")]
EmailArgument = Annotated[
    str | None, typer.Argument(metavar="EMAIL", help="E-mail address, or as --email.")
]
EmailOption = Annotated[str | None, typer.Option("--email", help="E-mail address of the user.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


@admin.command("create")
def create_admin(email: Email, *, password_stdin: PasswordStdin = False) -> None:
    """Create the first administrator; refused once there is one."""
    password = _password(from_stdin=password_stdin)
    made = _administer(lambda use: use.create_first_admin(email, password))
    say(f"admin: {made.email}")


@user.command("create")
def create_user(
    email: Email,
    role: Annotated[str, typer.Option(help="As in `admin` or `employee`.")],
    department: Annotated[str, typer.Option(help="Department, as in `sales`.")],
    *,
    password_stdin: PasswordStdin = False,
) -> None:
    """Create a user who can log in."""
    password = _password(from_stdin=password_stdin)
    made = _administer(lambda use: use.create_user(email, role, department, password))
    say(f"user: {made.email}")


@user.command("list")
def list_users(
    *, as_json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False
) -> None:
    """List all users: e-mail address, state, roles, department."""
    users = _administer(lambda use: use.users())
    if as_json:
        say(json.dumps({"users": [_shown(each) for each in users]}, indent=2))
        return
    for line in _table(users):
        say(line)
    if not users:
        say("no users: `chatbot admin create --email EMAIL` makes the first administrator")


@user.command("disable")
def disable_user(email: EmailArgument = None, *, option: EmailOption = None) -> None:
    """Keep a user from logging in, and end the user's tokens and running answers."""
    address = _address(email, option)
    changed = _administer(lambda use: use.disable(address))
    say(f"disabled: {changed.email}")


@user.command("enable")
def enable_user(email: EmailArgument = None, *, option: EmailOption = None) -> None:
    """Let a disabled user log in again; tokens of before stay invalid."""
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
    """Give a user another password, and end the user's tokens and running answers."""
    address = _address(email, option)
    password = _password(from_stdin=password_stdin)
    changed = _administer(lambda use: use.set_password(address, password))
    say(f"password changed: {changed.email}")


def _address(argument: str | None, option: str | None) -> str:
    """The one address that was given, either way."""
    given = {each for each in (argument, option) if each is not None}
    if len(given) != 1:
        raise typer.BadParameter("name one user: EMAIL or --email EMAIL")
    return given.pop()


def _shown(each: User) -> dict[str, object]:
    """What a list shows of a user: never the hash."""
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
        raise Refused("There is no terminal to ask for the password: use --password-stdin.")
    password = getpass.getpass(f"Password ({MIN_PASSWORD_CHARS} characters or more): ")
    if getpass.getpass("Again: ") != password:
        raise Refused("The two passwords differ.")
    return password


def _administer(work: Callable[[Administration], Awaitable[Done]]) -> Done:
    """Do it on the store of the settings.

    Raises:
        SettingsError: the settings are wrong, or the store cannot be opened.
        Refused: the store is the memory of a process.
    """
    from chatbot.entrypoints.container import build_container, opened_store  # noqa: PLC0415 - slow

    async def done() -> Done:
        container = build_container(settings)
        async with opened_store(container.storage()):
            try:
                return await work(container.administration())
            finally:
                await container.hasher().aclose()

    settings = lasting(command_settings())
    return asyncio.run(done())
