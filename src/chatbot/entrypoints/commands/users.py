"""`chatbot user ...`, for every store, also while the service is running.

The next request sees the change.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from chatbot.application.people import Person
from chatbot.application.user_changes import KEEP, NewUser, UserChange
from chatbot.domain.erasure import Receipt
from chatbot.domain.errors import LastAdministrator
from chatbot.domain.identity import Principal, User, UserId
from chatbot.domain.text import moment_of, rfc3339, visible_line
from chatbot.entrypoints.commands.command_line import Refused, say
from chatbot.entrypoints.commands.management import (
    AsJson,
    OneTime,
    PasswordStdin,
    managed,
    read_password,
    say_once,
    table,
)
from chatbot.entrypoints.container.use_cases import Management

user = typer.Typer(help="Manage users.", no_args_is_help=True)

_PAGE = 1000
Email = Annotated[str, typer.Option(help="E-mail address for logging in.")]
EmailArgument = Annotated[
    str | None,
    typer.Argument(metavar="EMAIL", help="E-mail address of the user, unless --email is given."),
]
EmailOption = Annotated[str | None, typer.Option("--email", help="E-mail address of the user.")]
Expiry = Annotated[
    str | None,
    typer.Option(
        "--expires-at",
        metavar="TIME",
        help="When the account expires: a time, such as 2026-12-31T23:59:59Z, or `never`.",
    ),
]


@user.command("create")
def create_user(
    email: Email,
    role: Annotated[
        list[str], typer.Option(help="Role, such as `admin` or `employee`. Repeatable.")
    ],
    department: Annotated[str, typer.Option(help="Department, such as `sales`.")],
    *,
    expires_at: Expiry = None,
    password_stdin: PasswordStdin = False,
    one_time: OneTime = False,
) -> None:
    """Create a user who can log in."""
    new = NewUser(
        email=email,
        roles=role,
        department=department,
        expires_at=_moment(expires_at),
        password=None if one_time else read_password(from_stdin=password_stdin),
    )
    made = managed(lambda use, account: use.people.create(account, new))
    say(f"user: {made.user.email}")
    if made.one_time_password is not None:
        say_once("one-time password", made.one_time_password)


@user.command("list")
def list_users(
    *,
    query: Annotated[
        str | None, typer.Option(help="Only users whose e-mail address contains this text.")
    ] = None,
    department: Annotated[str | None, typer.Option(help="Only users of this department.")] = None,
    role: Annotated[str | None, typer.Option(help="Only users with this role.")] = None,
    active: Annotated[
        bool | None,
        typer.Option(
            "--active/--inactive", help="Only users who can log in, or only those who cannot."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List users: e-mail address, state, roles and department."""

    async def listed(use: Management, account: Principal) -> list[Person]:
        wanted = use.people.filter(text=query, department=department, role=role, is_active=active)
        page = await use.people.page(account, wanted, limit=_PAGE)
        users = [*page.people]
        while page.next is not None:
            page = await use.people.page(account, wanted, limit=_PAGE, after=page.next)
            users += page.people
        return users

    users = managed(listed)
    if as_json:
        say(json.dumps({"users": [each.shown() for each in users]}, indent=2))
        return
    empty = ["no users: create the first administrator with `chatbot admin create --email EMAIL`"]
    for line in _table([each.user for each in users]) if users else empty:
        say(line)


@user.command("show")
def show_user(
    who: Annotated[
        str | None,
        typer.Argument(metavar="EMAIL|ID", help="E-mail address or id of the user."),
    ] = None,
    *,
    option: EmailOption = None,
    as_json: AsJson = False,
) -> None:
    """Show a user."""
    named = _address(who, option)

    async def found(use: Management, account: Principal) -> Person:
        if "@" in named:
            return await use.people.find(account, named)
        return await use.people.read(account, UserId(named))

    person = managed(found)
    if as_json:
        say(json.dumps(person.shown(), indent=2))
        return
    for name, value in person.shown().items():
        say(f"{name}: {', '.join(value) if isinstance(value, list) else _shown(value)}")


@user.command("set")
def change_user(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="E-mail address of the user.")],
    *,
    new_email: Annotated[str | None, typer.Option(help="New e-mail address.")] = None,
    role: Annotated[
        list[str] | None, typer.Option(help="Replace all roles by this one. Repeatable.")
    ] = None,
    department: Annotated[str | None, typer.Option(help="New department.")] = None,
    expires_at: Expiry = None,
) -> None:
    """Change a user's e-mail address, roles, department or expiry."""
    change = UserChange(
        email=new_email,
        roles=role or None,
        department=department,
        expires_at=KEEP if expires_at is None else _moment(expires_at),
    )
    changed = _change(email, change)
    say(f"changed: {changed.email}")


@user.command("disable")
def disable_user(email: EmailArgument = None, *, option: EmailOption = None) -> None:
    """Disable a user.

    The user cannot log in any more, the tokens are revoked, and running answers are stopped.
    """
    changed = _change(_address(email, option), UserChange(is_active=False))
    say(f"disabled: {changed.email}")


@user.command("enable")
def enable_user(email: EmailArgument = None, *, option: EmailOption = None) -> None:
    """Let a disabled user log in again.

    Tokens that were revoked stay revoked.
    """
    changed = _change(_address(email, option), UserChange(is_active=True))
    say(f"enabled: {changed.email}")


@user.command("password")
def set_password(
    email: EmailArgument = None,
    *,
    option: EmailOption = None,
    password_stdin: PasswordStdin = False,
    one_time: OneTime = False,
) -> None:
    """Set a user's password.

    Also revokes the user's tokens and stops running answers.
    """
    address = _address(email, option)
    password = "" if one_time else read_password(from_stdin=password_stdin)

    async def change(use: Management, account: Principal) -> tuple[User, str | None]:
        found = await use.people.find(account, address)
        if not one_time:
            return await use.user_passwords.set(account, found.user.id, password), None
        try:
            made = await use.user_passwords.reset(account, found.user.id)
        except LastAdministrator as error:
            raise LastAdministrator(f"{error} Or set a password without --one-time.") from error
        return made.user, made.one_time_password

    changed, made = managed(change)
    if made is None:
        say(f"password changed: {changed.email}")
    else:
        say_once("one-time password", made)


@user.command("delete")
def delete_user(
    email: EmailArgument = None,
    *,
    option: EmailOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Erase a user and all data about them.

    Prints the receipt as JSON.
    """
    address = _address(email, option)
    if not yes:
        if not sys.stdin.isatty():
            raise Refused("Cannot ask for confirmation without a terminal: use --yes.")
        typer.confirm(
            f"Erase {visible_line(address)} and all conversations of this user?", abort=True
        )

    async def erased(use: Management, account: Principal) -> Receipt:
        found = await use.people.find(account, address)
        return await use.people.erase(account, found.user.id)

    receipt = managed(erased)
    say(json.dumps({**asdict(receipt), "at": rfc3339(receipt.at)}, indent=2))


def _change(address: str, change: UserChange) -> User:
    async def done(use: Management, account: Principal) -> User:
        found = await use.people.find(account, address)
        return (await use.people.change(account, found.user.id, change)).user

    return managed(done)


def _address(argument: str | None, option: str | None) -> str:
    """Returns the one address, given as an argument or an option."""
    given = {each for each in (argument, option) if each is not None}
    if len(given) != 1:
        raise typer.BadParameter("name exactly one user: EMAIL or --email EMAIL")
    return given.pop()


def _moment(given: str | None) -> datetime | None:
    try:
        return None if given is None or given == "never" else moment_of(given)
    except ValueError as error:
        raise typer.BadParameter(f"--expires-at: {error}, or `never`") from error


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value or "-")


def _table(users: Sequence[User]) -> list[str]:
    now = datetime.now(UTC)
    rows = [
        [each.email, _state(each, now), ",".join(each.roles) or "-", each.department or "-"]
        for each in users
    ]
    return table(["e-mail", "state", "roles", "department"], rows)


def _state(each: User, now: datetime) -> str:
    if not each.is_active:
        return "disabled"
    return "active" if each.is_active_at(now) else "expired"
