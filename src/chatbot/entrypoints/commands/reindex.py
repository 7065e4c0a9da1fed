"""`chatbot reindex`, for every store, also while the service is running."""

from collections.abc import Collection
from typing import Annotated

import typer

from chatbot.application.vector_reindexing import VectorReindexing
from chatbot.domain.errors import ModelFailure
from chatbot.domain.identity import Owner, Principal
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

    Compares the index with the stored messages and documents, and indexes again what differs. With
    EMBEDDING_MODEL, it then makes the vectors that are missing; without, it removes all vectors. If the
    command is interrupted, run it again: it resumes where it stopped.
    """

    async def work(use: Management, _: Principal) -> int:
        owners = await use.reindexing.owners(owner)
        with progress_bar() as progress:
            done = await use.reindexing.run(owners, every=every, progress=progress)
        say(f"sessions checked: {done.compared}, indexed again: {done.indexed}")
        if owner is None and (documents := await use.document_check.run()):
            say(f"documents: {documents}")
        await _make_vectors(use.vectors, owners, documents=owner is None)
        return done.busy

    if busy := managed(work):
        raise Refused(f"Sessions in use, not checked: {busy}. Run the command again.")


async def _make_vectors(
    vectors: VectorReindexing, owners: Collection[Owner], *, documents: bool
) -> None:
    """Make the vectors that are missing.

    Raises:
        Refused: the provider fails.
    """
    try:
        with progress_bar() as progress:
            made = await vectors.run(owners, documents=documents, progress=progress)
    except ModelFailure as error:
        raise Refused(
            f"Some vectors are missing: {error} Run the command again once `chatbot doctor` says that "
            "the embedding model answers."
        ) from error
    if vectors.model is not None:
        say(f"vectors made with {vectors.model}: {made}")
