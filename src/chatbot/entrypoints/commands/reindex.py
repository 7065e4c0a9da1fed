"""`chatbot reindex`, for every store, also while the service is running."""

from typing import Annotated

import typer

from chatbot.application.document_check import Repaired
from chatbot.application.reindexing import Reindexed
from chatbot.domain.identity import Principal
from chatbot.entrypoints.commands.command_line import Refused, say
from chatbot.entrypoints.commands.management import managed
from chatbot.entrypoints.commands.progress import progress_bar
from chatbot.entrypoints.container.use_cases import Management


def reindex(
    *,
    owner: Annotated[
        str | None, typer.Option(help="E-mail address of a user: only their messages.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Index everything again, not only what differs.")
    ] = False,
) -> None:
    """Compare the search index with messages and documents, and index again what differs.

    If it is interrupted, run it again: what was indexed stays.
    """

    async def work(use: Management, _: Principal) -> tuple[Reindexed, Repaired | None]:
        owners = await use.reindexing.owners(owner)
        with progress_bar() as progress:
            done = await use.reindexing.run(owners, every=every, progress=progress)
        return done, None if owner else await use.document_check.run()

    done, documents = managed(work)
    say(f"compared {done.compared} sessions, indexed {done.indexed} of them again")
    if documents:
        say(f"documents: {documents}")
    if done.busy:
        raise Refused(f"{done.busy} sessions are in use. Run the command again.")
