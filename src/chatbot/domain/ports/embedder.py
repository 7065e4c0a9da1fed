"""The port to an embedding model, which turns texts into vectors."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from chatbot.domain.search import Vector


class Embedder(Protocol):
    """An embedding model.

    Vectors of different models, or of different lengths, cannot be compared.
    """

    model: str
    """The full name, as in `openai/text-embedding-3-small`."""

    @abstractmethod
    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return the vector of each text, in the same order, all of one length.

        Raises:
            ModelFailure: the provider did not return them.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close connections. Idempotent."""
