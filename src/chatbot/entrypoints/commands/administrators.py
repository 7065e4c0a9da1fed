"""`chatbot admin create`, and the check whether the service lacks an administrator."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from chatbot.application.first_administrator import AdministratorProblem, administrator_problem
from chatbot.domain.ports.backend import StorageUrl
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.commands.command_line import say
from chatbot.entrypoints.commands.management import PasswordStdin, managed, read_password
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.loading import ENV_FILE
from chatbot.entrypoints.storage_backends import parse_storage_url

admin = typer.Typer(help="Manage administrators.", no_args_is_help=True)

_DEFAULT_URL = "json:data"
_PROBLEMS = {
    AdministratorProblem.ROLES: (
        "no role has the permissions `users.manage` and `roles.manage`",
        "create the roles of a new store with `chatbot init`",
    ),
    AdministratorProblem.PEOPLE: (
        "no one can log in: there are no users",
        "create the first administrator with `chatbot admin create --email you@example.com`",
    ),
    AdministratorProblem.ADMINISTRATORS: (
        "there is no administrator",
        "create one with `chatbot admin create --email you@example.com`",
    ),
    AdministratorProblem.ACTIVE_ADMINISTRATORS: (
        "all administrators are disabled or have expired",
        (
            "find them with `chatbot user list`, then run `chatbot user enable EMAIL` or "
            "`chatbot user set EMAIL --expires-at never`"
        ),
    ),
}


@admin.command("create")
def create_admin(
    email: Annotated[str, typer.Option(help="E-mail address for logging in.")],
    *,
    password_stdin: PasswordStdin = False,
) -> None:
    """Create the first administrator.

    Fails if there is one already.
    """
    password = read_password(from_stdin=password_stdin)
    made = managed(lambda use, account: use.people.create_first_admin(account, email, password))
    say(f"admin: {made.email}")


async def people_problem(storage: Storage, settings: Settings) -> str | None:
    """Returns what the open store lacks before anyone can administer the service, with the fix.

    Raises:
        StorageFailure: users or roles cannot be read.
    """
    url = settings.storage.url
    found = await administrator_problem(storage, datetime.now(UTC)) if url.is_persistent else None
    if found is None:
        return None
    problem, fix = _PROBLEMS[found]
    moved = f"; if STORAGE_URL was changed, copy the old store with {_migration(url)}"
    may_be_wrong_store = found in {AdministratorProblem.ROLES, AdministratorProblem.PEOPLE}
    return f"{problem}. Fix: {fix}{moved if may_be_wrong_store else ''}"


async def may_have_no_users(storage: Storage, settings: Settings) -> bool:
    """Whether the store may be empty: `chatbot init` was never run, and no other store was in use.

    A service that is configured by the environment alone may serve only applications, which need
    the API key and no users.

    Raises:
        StorageFailure: users or roles cannot be read.
    """
    was_set_up = ENV_FILE.exists() or _default_store_has_users(settings.storage.url)
    return (
        not was_set_up
        and await administrator_problem(storage, datetime.now(UTC)) is AdministratorProblem.PEOPLE
    )


def _default_store_has_users(url: StorageUrl) -> bool:
    """Whether the default store is a different one and has users."""
    default = parse_storage_url(_DEFAULT_URL)
    is_other = default.path is not None and default.path != url.path
    return is_other and (default.local_folder / "auth" / "users.json").exists()


def _migration(url: StorageUrl) -> str:
    """Returns the command that copies the previous store: the default one, if it has users."""
    old = _DEFAULT_URL if _default_store_has_users(url) else "OLD"
    new = "NEW" if url.password else url.raw
    return f"`chatbot migrate --from {old} --to {new}`"
