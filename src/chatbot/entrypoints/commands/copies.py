"""`chatbot migrate`, `import`, `backup` and `restore`: the options of the commands on whole stores.

`operations` does the work; it is imported when a command runs, because it is slow to import.
"""

from pathlib import Path
from typing import Annotated

import typer

from chatbot.entrypoints.commands.command_line import command_settings, persistent

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done, without writing anything.")
]
BackupPath = Annotated[Path, typer.Argument(metavar="FILE", help="Backup file.")]


def migrate(
    source: Annotated[
        str, typer.Option("--from", help="Store to copy from, written like STORAGE_URL.")
    ],
    target: Annotated[
        str, typer.Option("--to", help="Store to copy to; created if it does not exist.")
    ],
    *,
    delete_others: Annotated[
        bool,
        typer.Option(
            "--delete-others", help="Delete the target's sessions that the source does not have."
        ),
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Copy all data to another store.

    The service may keep using the source, which is only read. Run the command again to resume, or to
    copy what is new. Items that are newer or different in the target are listed and left unchanged.
    """
    from chatbot.entrypoints.commands.operations import migrate

    _exit_1_unless(migrate(source, target, delete_others=delete_others, dry_run=dry_run))


def import_sessions(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with the session_<id>.json files.")
    ],
    *,
    owner: Annotated[
        str | None, typer.Option(help="E-mail address of the owner. Default: the API client.")
    ] = None,
) -> None:
    """Import legacy sessions.

    The files are only read.
    """
    settings = persistent(command_settings())
    from chatbot.entrypoints.commands.operations import import_files

    _exit_1_unless(import_files(settings, folder, owner))


def backup(file: BackupPath) -> None:
    """Write all data to a new file.

    The service may be running. Each session is saved as of one point in time; on SQLite and Postgres,
    all sessions as of the same one. The file contains conversations and password hashes, and only
    your account can read it (0600). It does not contain .env: back that up separately.
    """
    settings = persistent(command_settings())
    from chatbot.entrypoints.commands.operations import back_up

    _exit_1_unless(back_up(settings, file))


def restore(file: BackupPath, *, dry_run: DryRun = False) -> None:
    """Restore what the store lacks from a backup.

    Stop the service first. Items that are newer or different in the store are listed and left unchanged.
    """
    settings = persistent(command_settings())
    from chatbot.entrypoints.commands.operations import restore

    _exit_1_unless(restore(settings, file, dry_run=dry_run))


def _exit_1_unless(is_complete: bool) -> None:
    if not is_complete:
        raise typer.Exit(1)
