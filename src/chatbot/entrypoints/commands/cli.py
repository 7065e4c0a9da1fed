"""The command line: all commands of `chatbot`, which `chatbot --help` lists.

Most import their dependencies when they run: importing genkit would make `--help` slow.
"""

import io
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from chatbot import __version__
from chatbot.domain.errors import ChatbotError, ModelFailure, StorageFailure
from chatbot.domain.text import NotUtf8
from chatbot.entrypoints.commands import store
from chatbot.entrypoints.commands.administrators import admin
from chatbot.entrypoints.commands.audit import audit
from chatbot.entrypoints.commands.command_line import Refused, command_settings, say
from chatbot.entrypoints.commands.copies import backup, import_sessions, migrate, restore
from chatbot.entrypoints.commands.ingest import ingest
from chatbot.entrypoints.commands.keys import key
from chatbot.entrypoints.commands.limits import limit, show_usage
from chatbot.entrypoints.commands.management import managed
from chatbot.entrypoints.commands.refused_commands import record_refused
from chatbot.entrypoints.commands.reindex import reindex
from chatbot.entrypoints.commands.retention import retention
from chatbot.entrypoints.commands.roles import role
from chatbot.entrypoints.commands.secrets import secrets
from chatbot.entrypoints.commands.users import user
from chatbot.entrypoints.settings.loading import load_settings
from chatbot.entrypoints.settings.subject import SettingsError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # it would keep the line breaks of docstrings
)
db = typer.Typer(
    help="Upgrade and inspect the tables of SQLite and Postgres.", no_args_is_help=True
)
app.add_typer(admin, name="admin")
app.add_typer(user, name="user")
app.add_typer(audit, name="audit")
app.add_typer(retention, name="retention")
app.add_typer(key, name="key")
app.add_typer(role, name="role")
app.add_typer(limit, name="limit")
app.add_typer(db, name="db")
app.add_typer(secrets, name="secrets")


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Exit codes: 0 done, 1 refused or failed, 2 wrong usage or settings."""
    _tolerate_any_console()
    try:
        sys.exit(app(arguments, standalone_mode=False))
    except TyperException as error:
        _fail(f"{_usage_error(error)} (see --help)", 2)
    except typer.Abort:  # a confirmation was declined, or the input ended
        _fail("Aborted.", 1)
    except SettingsError as error:
        _fail(str(error), 2)
    except ModelFailure as error:
        _fail(f"{error} Run `chatbot doctor` to find the cause.", 1)
    except StorageFailure as error:
        _fail(f"STORAGE_URL: {error}", 1)
    except (ChatbotError, Refused) as error:
        record_refused(error, sys.argv[1:] if arguments is None else arguments)
        _fail(str(error), 1)
    except UnicodeError as error:
        why = error if isinstance(error, NotUtf8) else "it is not UTF-8 text"
        _fail(f"cannot read the input or a file: {why}", 1)
    except OSError as error:
        _fail(f"{error.filename or 'input or output'}: {error.strerror}", 1)


def _tolerate_any_console() -> None:
    """Replace characters that the console lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _usage_error(error: TyperException) -> str:
    if type(error).__name__ != "NoArgsIsHelpError":  # a private class; its message is the help
        return error.format_message()
    say(error.format_message())
    return "No command was given."


def _fail(message: str, code: int) -> None:
    for line in message.splitlines():
        say(f"chatbot: {line}", err=True)
    sys.exit(code)


def _version(asked: bool) -> None:
    if asked:
        say(f"chatbot {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Run and manage your company's own assistant."""


@app.command()
def init(
    *,
    upgrade: Annotated[
        bool,
        typer.Option(
            "--upgrade",
            help="Add missing secrets to an existing .env, and missing built-in roles to an existing "
            "store.",
        ),
    ] = False,
) -> None:
    """Write .env and create the store.

    The secrets in .env are random. Nothing that exists is overwritten.
    """
    say(store.upgrade_env(load_settings()) if upgrade else store.write_env())
    settings = load_settings()
    say(store.make_store(settings))
    if upgrade and settings.storage.url.is_persistent:
        for name in managed(lambda use, account: use.roles.add_shipped(account)):
            say(f"added the role {name}")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Number of worker processes.")] = None,
) -> None:
    """Serve the HTTP API until Ctrl-C or SIGTERM."""
    given = {"host": host, "port": port, "workers": workers}
    settings = command_settings(
        **{name: value for name, value in given.items() if value is not None}
    )
    from chatbot.entrypoints.commands.serve import run

    run(settings)


@app.command()
def chat(
    prompt: Annotated[
        str | None, typer.Argument(help="Prompt to answer. If omitted, start a conversation.")
    ] = None,
    *,
    new: Annotated[bool, typer.Option("--new", help="Start a new session.")] = False,
) -> None:
    """Chat in the terminal, as the client `default`.

    Continues the last session of this terminal. Without a terminal, for example from cron, continues
    the last session that your account had without one.
    """
    settings = command_settings()
    from chatbot.entrypoints.commands.chat import run_chat

    run_chat(settings, prompt, new=new)


@db.command("upgrade")
def upgrade_database() -> None:
    """Upgrade the tables of SQLite or Postgres.

    Stop the service first.
    """
    from chatbot.entrypoints.commands.operations import upgrade

    say(upgrade(command_settings()))


@db.command("current")
def current_schema() -> None:
    """Show the schema version of the tables."""
    say(store.schema(command_settings()))


app.command()(migrate)
app.command("import")(import_sessions)
app.command()(backup)
app.command()(restore)
app.command("ingest")(ingest)
app.command("reindex")(reindex)
app.command("usage")(show_usage)


@app.command()
def doctor() -> None:
    """Check settings, storage, model, proxy and TLS.

    Each line begins with `ok`, or with `FAIL` and says how to fix it. Exit code 1 if a check failed.
    """
    from chatbot.entrypoints.commands.doctor import examine

    is_healthy = True
    for finding in examine():
        say(str(finding))
        is_healthy = is_healthy and finding.ok
    if not is_healthy:
        raise typer.Exit(1)
