"""`chatbot retention run`, for every store, also while the service is running."""

from typing import Annotated

import typer

from chatbot.application.retention import Swept
from chatbot.entrypoints.commands.command_line import Refused, say
from chatbot.entrypoints.commands.management import managed

retention = typer.Typer(help="Delete expired conversations.", no_args_is_help=True)


@retention.command("run")
def run(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what has expired without deleting anything.")
    ] = False,
    clock_is_right: Annotated[
        bool,
        typer.Option(
            "--clock-is-right",
            help="Delete even if the last run was more than 26 hours ago. Without this option, nothing "
            "is deleted for a day, because the clock may have jumped.",
        ),
    ] = False,
) -> None:
    """Delete expired sessions and messages.

    RETENTION_SESSIONS_DAYS, RETENTION_MESSAGES_DAYS and limits of the kind `retention` define what has
    expired. The service does the same every hour.
    """
    swept = managed(
        lambda use, account: use.retention.run(
            account, is_asked_for=True, is_dry=dry_run, trusts_clock=clock_is_right
        )
    )
    result = swept or Swept()
    if result.doubted_since is not None:
        raise Refused(
            "Nothing was deleted: no run was completed in the last 26 hours, so this machine's clock "
            "may have jumped. Check the clock, then add --clock-is-right."
        )
    verb = "would delete" if dry_run else "deleted"
    say(
        f"{verb}: {result.sessions} sessions, {result.messages} messages; "
        f"kept on hold: {result.held} sessions"
    )
