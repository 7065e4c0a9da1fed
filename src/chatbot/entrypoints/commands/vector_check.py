"""What `chatbot doctor` says of the vectors in the store."""

from contextlib import suppress

from chatbot.domain.errors import ModelFailure
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.container.embedding_parts import build_late_embedder, dimension_of
from chatbot.entrypoints.container.embeddings import build_vector_reindexing
from chatbot.entrypoints.container.retention_parts import build_reindexing
from chatbot.entrypoints.settings import Settings

_FEW = 0.01
"""The newest passages have no vector for some seconds, and some may never have one."""


async def vectors_problem(storage: Storage, settings: Settings) -> tuple[bool, str] | None:
    """Returns whether the passages have vectors, and how many do not; None without a model."""
    model = settings.embedding.model
    if model is None:
        return None
    dimension = None
    with suppress(ModelFailure):  # another finding says so
        dimension = await dimension_of(settings)
    vectors = build_vector_reindexing(settings, storage, build_late_embedder(settings))
    owners = await build_reindexing(storage).owners()
    found = await vectors.lacking(owners, dimension=dimension)
    count = found.messages + found.passages
    if not count:
        return True, f"all passages have one of {model}"
    length = f" with {dimension} dimensions" if dimension else ""
    text = (
        f"{found.messages} messages and {found.passages} passages of documents, of {found.indexed} in "
        f"all, have no vector of {model}{length}"
    )
    return count <= found.indexed * _FEW, text
