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
        str | None,
        typer.Option(help="Check only the messages of the user with this e-mail address."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Rebuild the whole index, not only what differs.")
    ] = False,
) -> None:
    """Check and repair the search index.

    Compares the index with the stored messages and documents, and indexes again what differs. If the
    command is interrupted, run it again: it resumes where it stopped.
    """

    async def work(use: Management, _: Principal) -> tuple[Reindexed, Repaired | None]:
        owners = await use.reindexing.owners(owner)
        with progress_bar() as progress:
            done = await use.reindexing.run(owners, every=every, progress=progress)
        return done, None if owner else await use.document_check.run()

    done, documents = managed(work)
    say(f"sessions checked: {done.compared}, indexed again: {done.indexed}")
    if documents:
        say(f"documents: {documents}")
    if done.busy:
        raise Refused(f"Sessions in use, not checked: {done.busy}. Run the command again.")
